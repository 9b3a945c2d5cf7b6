"""What JSON may carry: everything that is refused names its place, and nothing of it is stored."""

import json
from typing import Any

import pytest
from django.test import Client

from memories.api import limits
from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.keys import memory
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db


def create(client: Client, raw_data: str, **fields: Any) -> Any:
    """`raw_data` as JSON text, put into the body as it stands."""
    head = json.dumps(memory("alice", "web") | fields)[:-1]
    return client.post("/memory-logs", f'{head}, "raw_data": {raw_data}}}', content_type="application/json")


def nested(levels: int) -> str:
    """A raw_data with this many levels of its own."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize(
    ("raw_data", "pointer"),
    [
        pytest.param(r'{"a": "\u0000"}', "/raw_data/a", id="NUL"),
        pytest.param(r'{"a\u0000": 1}', "/raw_data", id="NUL in a key"),
        pytest.param(r'{"a": ["x", "\ud800"]}', "/raw_data/a/1", id="lone surrogate"),
        pytest.param(r'{"\udfff": 1}', "/raw_data", id="lone surrogate in a key"),
        pytest.param('{"a": NaN}', "/raw_data/a", id="NaN"),
        pytest.param('{"a": -Infinity}', "/raw_data/a", id="Infinity"),
        pytest.param('{"a/b": {"~": 1e999}}', "/raw_data/a~1b/~0", id="beyond a double"),
        pytest.param(f'{{"a": {2**63}}}', "/raw_data/a", id="beyond 64 bits"),
        pytest.param(f'{{"a": -{2**63 + 1}}}', "/raw_data/a", id="below 64 bits"),
        pytest.param('{"a": 1' + "0" * 5_000 + "}", "/raw_data/a", id="5,000 digits"),
        pytest.param('{"a": {"b": 1, "b": 1}}', "/raw_data/a", id="the same key twice"),
        pytest.param(f'{{"a": "{"x" * (limits.STRING_LENGTH + 1)}"}}', "/raw_data/a", id="string length"),
        pytest.param(f'{{"{"k" * (limits.KEY_LENGTH + 1)}": 1}}', "/raw_data", id="key length"),
        pytest.param(f'{{"a": {[0] * (limits.ITEMS + 1)}}}', "/raw_data/a", id="items"),
        pytest.param(json.dumps({str(n): n for n in range(limits.KEYS + 1)}), "/raw_data", id="keys"),
        pytest.param(nested(limits.DEPTH), "/raw_data/a" + "/0" * (limits.DEPTH - 2), id="depth"),
        pytest.param("[]", "/raw_data", id="a list"),
        pytest.param('"{}"', "/raw_data", id="a string"),
        pytest.param("null", "/raw_data", id="null"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_place(client: Client, raw_data: str, pointer: str) -> None:
    answer = create(client, raw_data)

    assert answer.status_code == 400
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert not MemoryLog.objects.exists()


AT_THE_LIMIT = [
    pytest.param({"a": "x" * limits.STRING_LENGTH}, id="string length"),
    pytest.param({"k" * limits.KEY_LENGTH: 1}, id="key length"),
    pytest.param({"a": [0] * limits.ITEMS}, id="items"),
    pytest.param({str(n): n for n in range(limits.KEYS)}, id="keys"),
    pytest.param(json.loads(nested(limits.DEPTH - 1)), id="depth"),
    pytest.param({"a": [2**63 - 1, -(2**63), 0, -0.5, 1e22, 1.7e308, 5e-324]}, id="numbers"),
    pytest.param({"": "", "a\nb": "tab\t", "𝄞": "🎼 \u200d \u202e"}, id="text"),
    pytest.param({"a": [None, True, {}, []]}, id="empty"),
]


def doubles(data: Any) -> Any:
    return json.loads(json.dumps(data), parse_int=float)


@pytest.mark.parametrize("raw_data", AT_THE_LIMIT)
def test_what_is_at_the_limit_comes_back_as_it_was_and_may_be_sent_again(
    client: Client, raw_data: Any
) -> None:
    created = create(client, json.dumps(raw_data))
    assert created.status_code == 201, created.content

    read = client.get(f"/memory-logs/{created.json()['id']}").json()["raw_data"]

    # As doubles, since that is what they were: PostgreSQL writes 1.7e308 out in full.
    assert doubles(read) == doubles(created.json()["raw_data"]) == doubles(raw_data)
    assert create(client, json.dumps(read)).status_code == 201


@pytest.mark.parametrize("raw_data", AT_THE_LIMIT)
def test_what_is_at_the_limit_can_be_changed_and_found(client: Client, raw_data: Any) -> None:
    where = create(client, json.dumps(raw_data), user_id=new_tenant().user_id)["Location"]

    assert client.patch(where, {"task": "Fix it again"}, content_type="application/json").status_code == 200
    drain()

    assert client.get(where).json()["sync"]["status"] == "indexed"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ""),
        ("user_id", " alice"),
        ("project_id", "web\n"),
        ("user_id", "x" * (limits.ID_LENGTH + 1)),
        ("user_id", None),
        ("user_id", 7),
        ("task", ""),
        ("task", " \t"),
        ("task", "x" * (limits.TEXT_LENGTH + 1)),
        ("task", "\x00"),
        ("agent", "x" * (limits.ID_LENGTH + 1)),
        ("date", "0000-01-01"),
        ("date", "10000-01-01"),
        ("date", "2026-02-30"),
        ("date", 20260101),
    ],
)
def test_a_field_out_of_its_range_is_refused_by_name(client: Client, field: str, value: Any) -> None:
    answer = create(client, "{}", **{field: value})

    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{field}"]


def test_a_body_with_too_many_values_is_refused_as_a_whole(client: Client) -> None:
    lists = [[0] * limits.ITEMS] * (limits.VALUES // limits.ITEMS + 1)

    answer = create(client, json.dumps({"a": lists}, separators=(",", ":")))

    assert [error["pointer"] for error in answer.json()["errors"]] == [""]
    assert "1,000,000 values" in answer.json()["detail"]


def test_however_much_is_wrong_the_answer_stays_short(client: Client) -> None:
    answer = create(client, json.dumps({"a": ["\x00"] * 5_000}))

    assert len(answer.json()["errors"]) == 20


@pytest.mark.parametrize("value", ["10", True, 1.5, 0, 101, None])
def test_a_number_is_a_number(client: Client, value: Any) -> None:
    query = {"query": "x", "user_id": "a", "project_id": "b", "limit": value}

    answer = client.post("/memory-logs/search", query, content_type="application/json")

    assert [error["pointer"] for error in answer.json()["errors"]] == ["/limit"]
