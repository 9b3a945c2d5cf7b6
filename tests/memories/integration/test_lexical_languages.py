"""Words of many languages and scripts in the lexical ranking, also in memories without a stop word."""

import unicodedata

import pytest
from django.db import connection

from memories.search.lexical import lexical_search
from tests.memories.integration.test_lexical import remember
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db


def finds(text: str, query: str) -> bool:
    """Whether the query finds a memory of this text before a memory of other words."""
    tenant = new_tenant()
    (row,) = remember(tenant, text)
    remember(tenant, "otherwise", "кое", "その他")
    return [item.memory_id for item in lexical_search(tenant, query, 1)] == [row.id]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("عاصمة كندا", "ما هي عاصمة كندا؟"),
        ("كندا، دولة", "كندا"),
        ("پایتخت ایران۔", "ایران"),
        ("दिल्ली भारत।", "भारत"),
        ("Երևան։ Մայրաքաղաք", "Երևան՞"),
        ("ירושלים־העיר", "העיר"),
        ("አዲስ አበባ።", "አበባ"),
        ("东京、大阪", "大阪"),
        ("Rollout finished🎉", "finished"),
        ("the party 🎉", "🎉"),
        ("Silben\u00adtrennung", "silbentrennung"),
        ("عـــاصمة", "عاصمة"),
        ("سال ۱۴۰۳", "1403"),
        ("١٢٣ طلب", "123"),
        ("संस्करण १९८७", "1987"),
    ],
)
def test_signs_of_every_script_separate_words(text: str, query: str) -> None:
    assert finds(text, query)


def test_no_sign_of_unicode_stays_at_a_word() -> None:
    signs = [
        sign
        for sign in map(chr, range(0x21, 0x10000))
        if unicodedata.category(sign)[0] in "PS" and unicodedata.normalize("NFKC", sign) == sign
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_to_array(memory_spaced(memory_normalized(%s), '{}'), ' ')",
            [" ".join(f"before{sign}after" for sign in signs)],
        )
        [(words,)] = cursor.fetchall()

    assert set(words) - {""} == {"before", "after"}


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("بيانات", "البيانات"),
        ("البيانات", "بيانات"),
        ("نسخ البيانات", "والبيانات"),
        ("فهرس", "الفهرس"),
        ("مدرسة", "للمدرسه"),
        ("إعدادات", "الاعدادات"),
    ],
)
def test_arabic_words_are_found_with_and_without_the_article(text: str, query: str) -> None:
    assert finds(text, query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("kitapları okudum", "kitap"),
        ("Güncellemeler çalışıyor", "güncelleme"),
        ("dosyaları sıkıştır", "dosya"),
        ("Gerät löschen", "gelöschte Geräte"),
        ("Straßenbeleuchtungen", "Straßenbeleuchtung"),
        ("Störungen behoben", "Störung"),
        ("szerverek újraindítása", "szerver"),
        ("migración completada", "migraciones"),
        ("contraseñas", "contraseña"),
        ("alterações", "alteração"),
        ("As alterações falharam", "alteração"),
        ("Sunucular yeniden başlatıldı", "sunucu"),
        ("élèves notifiés", "élève"),
        ("città aggiornate", "aggiornata"),
        ("säkerhetskopior återställda", "säkerhetskopia"),
        ("sikkerhetskopiering på nøkler", "nøkkelen nøkler"),
        ("lääkärit", "lääkäri"),
        ("fișiere șterse", "fișierele"),
        ("քաղաքներ", "քաղաք"),
        ("தரவுகள்", "தரவு"),
    ],
)
def test_letters_tell_the_languages_of_words_without_a_stop_word(text: str, query: str) -> None:
    assert finds(text, query)


@pytest.mark.parametrize(
    "text", ["jalapeño deploys failing", "Malmö", "Łódź serwery", "café", "naïve solver failing repeatedly"]
)
def test_a_borrowed_word_leaves_english_words_their_stems(text: str) -> None:
    for word in text.split():
        assert finds(text, word)
    assert "failing" not in text or finds(text, "failed")
