"""The embedded default: lexical vectors without a model."""

import subprocess
import sys

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from memories.embeddings import english
from memories.embeddings.hashing import HashingBackend
from tests.support.paths import ROOT

backend = HashingBackend()


def similarity(query: str, document: str) -> float:
    return float(backend.embed_query(query) @ backend.embed_documents([document])[0])


@pytest.mark.parametrize("dimensions", [2, 3, 64, 768, 3072])
def test_vectors_have_length_one_in_any_dimensions(dimensions: int):
    vectors = HashingBackend(dimensions=dimensions).embed_documents(["one text", "another", "", "的", "!!!"])
    assert vectors.shape == (5, dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)


def test_one_dimension_is_refused():
    with pytest.raises(ImproperlyConfigured, match="EMBEDDING_DIMENSIONS=1: hashing needs at least 2"):
        HashingBackend(dimensions=1)


def test_another_process_makes_the_same_vector():
    script = (
        "from memories.embeddings.hashing import HashingBackend;"
        "print(HashingBackend().embed_query('The cache expired too early').tobytes().hex())"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "semantix.settings", "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert other.stdout.decode().strip() == backend.embed_query("The cache expired too early").tobytes().hex()


def test_a_text_does_not_depend_on_its_neighbours_in_the_batch():
    alone = backend.embed_documents(["Fix the login page"])[0]
    assert np.array_equal(backend.embed_documents(["x", "Fix the login page", "y"])[1], alone)


@pytest.mark.parametrize(
    ("query", "nearer", "further"),
    [
        ("paint a sunrise", "She painted sunrises", "She likes the sea"),
        ("postgres conection pool", "Connection pool of Postgres exhausted", "Chroma server restarted"),
        ("What did the cat do?", "A cat sleeps", "What did they do? What did the two of them do?"),
        ("CAFÉ", "the cafe at the corner", "the car at the corner"),
        ("東京タワー", "昨日東京タワーに行きました", "昨日大阪城に行きました"),
        ("login timeout", "login timeout in the proxy", "login of the admin, the proxy is fine"),
        ("Was ist mit der Rechnung?", "Die Rechnungen wurden exportiert", "Was ist mit der Miete von Anna?"),
        ("В каком городе работает сервер?", "Серверы стоят в Москве", "В каком он зале? В каком ряду?"),
        ("หมดเวลา", "ระบบชำระเงินล้มเหลวเพราะหมดเวลา", "ประชุมเรื่องสีของหน้าแรก"),
        ("서버 장애", "어제 밤에 서버가 장애로 멈췄다", "오늘은 날씨가 좋다"),
    ],
)
def test_shared_words_endings_spellings_and_scripts_bring_texts_together(
    query: str, nearer: str, further: str
):
    assert similarity(query, nearer) > similarity(query, further)


def test_a_short_text_does_not_win_by_shortness_alone():
    answer = "Ann went camping at the lake with the children in July and they saw a meteor shower"
    assert similarity("When did Ann go camping at a lake?", answer) > similarity(
        "When did Ann go camping at a lake?", "Thanks, Ann!"
    )


def test_what_stands_first_weighs_more():
    filler = "unrelated words follow here " * 60
    assert similarity("cache invalidation", f"cache invalidation {filler}") > similarity(
        "cache invalidation", f"{filler} cache invalidation"
    )


def test_a_text_is_found_by_its_own_words():
    text = "Session cookie was dropped behind the proxy"
    assert similarity(text, text) > 0.65


def test_relatives_of_a_word_meet():
    assert {english.stem(word) for word in ("plan", "plans", "planned", "planning")} == {"plan"}
    assert english.stem("glass") == "glass"


def test_a_word_that_is_grammar_in_another_language_keeps_its_weight():
    assert (
        similarity("war", "a war museum") > similarity("war", "Was war mit der Miete und dem Keller?") + 0.2
    )


def test_short_texts_do_not_lie_close_to_each_other():
    short = backend.embed_documents(["Thanks!", "Great idea", "Good night", "See you soon", "完了", "はい"])
    assert np.abs(short @ short.T - np.eye(len(short))).max() < 0.5
