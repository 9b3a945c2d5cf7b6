"""How the bytes of a body may come: compressed, with a byte order mark, and declared as JSON."""

import gzip
import json
import zlib
from typing import Any

import pytest
from django.test import Client

from memories.models import MemoryLog
from tests.support.keys import memory

pytestmark = pytest.mark.django_db

ONE = json.dumps(memory("alice", "web")).encode()


def post(client: Client, body: bytes, coding: str | None = None, kind: str = "application/json") -> Any:
    headers = {"Content-Encoding": coding} if coding else {}
    return client.generic("POST", "/memory-logs", body, content_type=kind, headers=headers)


def detail(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert not MemoryLog.objects.exists()
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(ONE)),
        ("x-gzip", gzip.compress(ONE)),
        ("GZIP", gzip.compress(ONE)),
        ("deflate", zlib.compress(ONE)),
        ("identity", ONE),
        (" gzip ", gzip.compress(ONE)),
    ],
    ids=["gzip", "x-gzip", "capitals", "deflate", "identity", "spaces"],
)
def test_a_compressed_body_is_decoded(client: Client, coding: str, body: bytes) -> None:
    assert post(client, body, coding).status_code == 201
    assert MemoryLog.objects.get().task == memory("alice", "web")["task"]


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "*"])
def test_another_content_coding_is_415_and_told_what_is_taken(client: Client, coding: str) -> None:
    assert "gzip" in detail(post(client, gzip.compress(ONE), coding), 415)


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(ONE)[:-1],
        gzip.compress(ONE)[:-9],
        gzip.compress(ONE) + b"more",
        gzip.compress(ONE) * 2,
        ONE,
        b"\x1f\x8b",
    ],
    ids=["cut off", "cut in the middle", "more after it", "two members", "not compressed", "a head alone"],
)
def test_a_body_that_does_not_decompress_as_a_whole_stores_nothing(client: Client, body: bytes) -> None:
    assert "gzip" in detail(post(client, body, "gzip"), 400)


def test_a_small_body_that_grows_beyond_the_limit_is_413(client: Client, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100_000
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(bomb) < settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    assert "MAX_BODY_BYTES" in detail(post(client, bomb, "gzip"), 413)


def test_a_compressed_form_is_415(client: Client) -> None:
    detail(post(client, gzip.compress(ONE), "gzip", "multipart/form-data; boundary=x"), 415)


def test_a_byte_order_mark_is_read_past(client: Client) -> None:
    assert post(client, b"\xef\xbb\xbf" + ONE).status_code == 201
    assert post(client, gzip.compress(b"\xef\xbb\xbf" + ONE), "gzip").status_code == 201


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_another_encoding_than_utf_8_is_refused_whether_declared_or_not(
    client: Client, encoding: str
) -> None:
    body = json.dumps(memory("alice", "web", task="Füge ein"), ensure_ascii=False).encode(encoding)

    assert "UTF-8" in detail(post(client, body), 400)
    assert "UTF-8" in detail(post(client, body, kind=f"application/json; charset={encoding}"), 415)


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii"])
def test_utf_8_by_any_of_its_names_is_taken(client: Client, charset: str) -> None:
    assert post(client, ONE, kind=f"application/json; charset={charset}").status_code == 201


@pytest.mark.parametrize(
    "kind",
    [
        "*/*",
        "application/*",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "nonsense",
        "",
    ],
)
def test_what_is_not_declared_as_json_is_415_and_told_the_header(kind: str) -> None:
    client = Client(enforce_csrf_checks=True)

    assert "Content-Type: application/json" in detail(post(client, ONE, kind=kind), 415)
