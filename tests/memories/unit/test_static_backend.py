"""The default without a key: vectors of meaning from a table."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from memories.embeddings import known_part, static
from memories.embeddings.hashing import HashingBackend
from memories.embeddings.static import TABLE, StaticBackend
from outbox import Unavailable
from tests.support.paraphrases import OTHERS, PAIRS
from tests.support.paths import ROOT

backend = StaticBackend()


def similarity(query: str, document: str) -> float:
    return float(backend.embed_query(query) @ backend.embed_documents([document])[0])


@pytest.mark.parametrize("dimensions", [2, 3, 64, 384, 768, 3072])
def test_vectors_have_length_one_in_any_dimensions(dimensions: int) -> None:
    texts = [
        "one text",
        "another",
        "",
        "的",
        "!!!",
        "ünïcödé",
        "x" * 4_000,
        "a\x00b",
        "0x80070005 v2.10.1",
        "🙂",
    ]
    vectors = StaticBackend(dimensions=dimensions).embed_documents(texts)

    assert vectors.shape == (len(texts), dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-6)


def test_one_dimension_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="EMBEDDING_DIMENSIONS=1: static needs at least 2"):
        StaticBackend(dimensions=1)


def test_a_sentence_is_found_by_a_paraphrase_among_500() -> None:
    documents = backend.embed_documents([meant for meant, _ in PAIRS] + OTHERS)
    assert len(documents) == 500

    queries = np.stack([backend.embed_query(asked) for _, asked in PAIRS])
    first = (queries @ documents.T).argmax(axis=1)

    assert np.mean(first == np.arange(len(PAIRS))) >= 0.8


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("automobile", "The car is in the garage", "The soup is in the kitchen"),
        ("who got married?", "Their wedding was in April", "Their lesson was in April"),
        ("服务器崩溃", "昨天晚上服务器又崩溃了", "今天天气很好"),
        ("サーバー障害", "昨夜サーバーが障害で停止した", "今日は天気がいい"),
        ("เซิร์ฟเวอร์ล่ม", "เมื่อคืนเซิร์ฟเวอร์ล่มอีกแล้ว", "วันนี้อากาศดีมาก"),
        ("серверы упали", "Вчера сервер опять упал", "Сегодня хорошая погода"),
        (
            "getUserByIdV2",
            "KeyError in getUserByIdV2 of the client",
            "KeyError in setOrderStatusV2 of the client",
        ),
        ("0x80070005", "The update failed with 0x80070005", "The update failed with 0x80240017"),
    ],
)
def test_meaning_and_spelling_are_found(query: str, near: str, far: str) -> None:
    assert similarity(query, near) > similarity(query, far) + 0.05


def test_the_same_text_has_the_same_vector_in_every_process() -> None:
    script = (
        "import django.conf; django.conf.settings.configure();"
        "from memories.embeddings.static import StaticBackend;"
        "print(StaticBackend().embed_query('Fix the login 登录').tobytes().hex())"
    )
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert there.stdout.strip() == backend.embed_query("Fix the login 登录").tobytes().hex()


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / TABLE.name
    damaged.write_bytes(TABLE.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(static, "TABLE", damaged)

    with pytest.raises(Unavailable, match="Install Semantix again"):
        StaticBackend().embed_query("text")


def test_the_table_is_small() -> None:
    assert TABLE.stat().st_size < 10_000_000


def test_the_known_part_of_a_text_is_its_english_words() -> None:
    assert backend.known_part("the server ran out of memory") == 1.0
    assert backend.known_part("数据库连接池耗尽") == backend.known_part("база данных") == 0.0
    assert 0.2 < backend.known_part("memory 数据库连接池耗尽") < 0.8
    assert known_part("the server ran out of memory", HashingBackend()) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "The pool of 12 connections was too small: under load, requests waited.\n\tRaised it\rto 13!",
        "KeyError in getOrderStatusV2('id'), see /etc/nginx.conf:12 - [WARN] user_id=7 <a@b.c> `x` {y} ~z^2 \\n",
        "a" * 100 + " " + "b" * 101 + " ! " + "antidisestablishmentarianism" * 3,
        "...",
        " \n ",
        "",
    ],
)
def test_remembered_words_give_the_tokens_that_the_tokenizer_gives(text: str) -> None:
    table = static.load_table()

    for _ in "as a new word", "as a known one":
        tokens, known = static._read_ascii(text, table)  # noqa: SLF001
        all_tokens, part = static._read(text, table)  # noqa: SLF001
        assert (tokens.tolist(), known) == (all_tokens.tolist(), part)
