"""POST turns, GET a conversation or a tenant's list of them, POST close."""

from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memories.models import MemoryLog
from memories.records.services import update_memory
from tests.support.conversations import flush_all
from tests.support.redis_server import RedisServer
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)

SAID = {"role": "user", "content": "Where do I change my address?"}


@pytest.fixture(params=["postgres", "redis"], autouse=True)
def buffer(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return str(request.param)


def say(who: Actor, *, to: str = "support-1", **more: Any) -> Any:
    headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
    body = {**who.tenant._asdict(), **(more or SAID)}
    return who.send("POST", f"/conversations/{to}/turns", body, **headers)


def read(who: Actor, name: str = "support-1", **query: Any) -> Any:
    return who.get(f"/conversations/{name}", **who.tenant._asdict(), **query)


def close(who: Actor, name: str = "support-1") -> Any:
    return who.send("POST", f"/conversations/{name}/close", who.tenant._asdict())


def test_a_turn_is_taken_in_and_read_back_at_once(cast: Cast, buffer: str) -> None:
    answer = say(cast.alice)

    assert answer.status_code == 202
    assert answer.json() == {
        "conversation_id": "support-1",
        "turns": [{"seq": 1}],
        "buffer": buffer,
        "degraded": False,
    }
    shown = read(cast.alice).json()
    [turn] = shown["turns"]
    assert turn == {"seq": 1, **SAID, "at": turn["at"]}
    assert (shown["state"], shown["turn_count"], shown["saved"], shown["buffered"]) == ("buffered", 1, 0, 1)
    assert (shown["complete"], shown["gaps"], shown["memory_ids"]) == (True, [], [])
    assert not MemoryLog.objects.exists()


@pytest.mark.parametrize("name", ["a/b", "/", "a/turns", "100%/2", "a%2Fb/c", "a%252F/b"])
def test_a_slash_in_a_name_is_sent_as_2f(cast: Cast, name: str) -> None:
    """The test's client decodes the path as servers do. It tells the path as it was sent, as WSGI servers do."""

    def at(suffix: str = "") -> dict[str, Any]:
        path = f"/conversations/{quote(name, safe='')}{suffix}"
        return {"path": path, "REQUEST_URI": f"{path}?a=b"}

    tenant, as_json = cast.alice.tenant._asdict(), "application/json"
    answer = cast.alice.client.post(**at("/turns"), data=tenant | SAID, content_type=as_json)
    assert (answer.status_code, answer.json()["conversation_id"]) == (202, name)
    assert answer["Location"] == at()["path"]
    assert cast.alice.client.get(**at(), data=tenant).json()["conversation_id"] == name
    closed = cast.alice.client.post(**at("/close"), data=tenant, content_type=as_json)
    assert (closed.status_code, closed.json()["state"]) == (200, "closed")


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[1m", "\u65e5\u672c ?#%"])
def test_the_location_is_an_address_whatever_the_conversation_is_called(cast: Cast, name: str) -> None:
    answer = say(cast.alice, to=quote(name))

    assert answer.status_code == 202
    assert answer.headers["Location"].isascii()
    assert answer.headers["Location"].isprintable()
    found = cast.alice.get(answer.headers["Location"], **cast.alice.tenant._asdict())
    assert found.json()["conversation_id"] == name


def test_many_turns_come_in_one_request_each_with_what_belongs_to_it(cast: Cast) -> None:
    turns = [
        SAID | {"language": "en"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "find"}]},
    ]

    assert say(cast.alice, turns=turns).json()["turns"] == [{"seq": 1}, {"seq": 2}]
    shown = read(cast.alice).json()["turns"]
    assert [{key: turn[key] for key in given} for turn, given in zip(shown, turns, strict=True)] == turns


def test_a_request_to_close_with_a_field_that_is_unknown_is_refused(cast: Cast) -> None:
    say(cast.alice)
    answer = cast.alice.send(
        "POST", "/conversations/support-1/close", cast.alice.tenant._asdict() | {"idle": 5}
    )

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/idle")


SHAPES: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"n": 1}'}}
        ],
    },
    {"role": "assistant", "tool_calls": [{"id": "c2", "type": "function", "function": {"name": "track"}}]},
    {"role": "tool", "tool_call_id": "c1", "name": "track", "content": "It is in Ghent"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.org/lamp.png", "detail": "low"}},
        ],
    },
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "track", "input": {"n": 1}}]},
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "Ghent"}]}
        ],
    },
    {"role": "user", "content": {"type": "text", "text": "one part"}},
    {"role": "model", "parts": [{"text": "It is in Ghent"}]},
    {"role": " user ", "content": "  spaces stay\n", "metadata": {"score": 1.5, "none": None}},
    {"role": "assistant"},
]


@pytest.mark.parametrize("turn", SHAPES)
def test_a_turn_of_any_shape_is_kept_unchanged(cast: Cast, turn: dict[str, Any]) -> None:
    assert say(cast.alice, **turn).status_code == 202
    [waiting] = read(cast.alice).json()["turns"]
    flush_all()
    [saved] = read(cast.alice).json()["turns"]

    assert waiting == saved == {"seq": 1, "at": waiting["at"], **turn}


def test_turns_of_all_shapes_come_in_one_request(cast: Cast) -> None:
    assert say(cast.alice, turns=SHAPES).status_code == 202

    shown = read(cast.alice).json()["turns"]

    assert [{name: turn[name] for name in turn if name not in ("seq", "at")} for turn in shown] == SHAPES


def test_saved_and_waiting_turns_are_shown_as_one(cast: Cast) -> None:
    say(cast.alice, role="user", content="one")
    flush_all()
    say(cast.alice, role="user", content="two")

    shown = read(cast.alice).json()

    assert [(turn["seq"], turn["content"]) for turn in shown["turns"]] == [(1, "one"), (2, "two")]
    assert (shown["turn_count"], shown["saved"], shown["buffered"]) == (2, 1, 1)
    assert shown["memory_ids"] == [MemoryLog.objects.get().id]
    assert [turn["content"] for turn in read(cast.alice, after=1).json()["turns"]] == ["two"]


def pages(who: Actor, **query: Any) -> list[list[str]]:
    """The contents of each page, following `next` to the last page."""
    answer = read(who, **query).json()
    found = [[turn["content"] for turn in answer["turns"]]]
    while answer["next"]:
        answer = who.client.get(answer["next"]).json()
        found.append([turn["content"] for turn in answer["turns"]])
    return found


@pytest.mark.parametrize("saved", [0, 1, 4, 7, 10])
def test_turns_are_read_a_page_at_a_time(cast: Cast, settings: Any, saved: int) -> None:
    settings.CONVERSATION_PART_CHARACTERS = 20  # two turns a memory
    said = [str(number) for number in range(10)]
    for number, content in enumerate(said):
        if number == saved:
            flush_all()
        say(cast.alice, role="user", content=content)
    if saved == 10:
        flush_all()

    assert pages(cast.alice, page_size=4) == [said[:4], said[4:8], said[8:]]
    assert pages(cast.alice, page_size=10) == pages(cast.alice) == [said]
    assert pages(cast.alice, page_size=5, after=5) == [said[5:]]
    shown = read(cast.alice, page_size=1).json()
    assert (shown["turn_count"], shown["saved"]) == (10, saved)
    assert shown["memory_ids"] == list(MemoryLog.objects.order_by("id").values_list("id", flat=True))[:1]


def test_a_page_ends_before_the_turn_that_would_be_too_much(cast: Cast, settings: Any) -> None:
    settings.PAGE_MAX_BYTES = 2_500
    for number in range(2):
        say(cast.alice, turns=[{"role": "user", "content": f"{number}{part}" * 500} for part in range(3)])
        flush_all() if number == 0 else None

    assert [len(page) for page in pages(cast.alice)] == [2, 2, 2]


@pytest.mark.parametrize("page_size", [0, 501, "x"])
def test_a_page_size_that_is_too_small_or_too_large_is_refused(cast: Cast, page_size: Any) -> None:
    say(cast.alice)
    assert read(cast.alice, page_size=page_size).status_code == 400


def test_reading_a_conversation_reads_no_vector(cast: Cast) -> None:
    say(cast.alice)
    flush_all()
    with CaptureQueriesContext(connection) as queries:
        assert read(cast.alice).status_code == 200

    assert "raw_data" in str(queries.captured_queries)
    assert '"embedding"' not in str(queries.captured_queries)


@pytest.mark.parametrize("turns", [[{"seq": 2, "content": "not mine"}], "nonsense", [{"seq": "1"}], [None]])
def test_turns_that_an_owner_edited_hide_no_waiting_turn(cast: Cast, turns: Any) -> None:
    say(cast.alice)
    flush_all()
    update_memory(MemoryLog.objects.get().id, {"raw_data": {"turns": turns}})
    say(cast.alice, role="user", content="waits")

    assert [(turn["seq"], turn["content"]) for turn in read(cast.alice).json()["turns"]] == [(2, "waits")]


def test_close_saves_now_and_a_later_turn_opens_it_again(cast: Cast) -> None:
    say(cast.alice)

    closed = close(cast.alice).json()

    assert (closed["state"], closed["saved"], closed["buffered"]) == ("closed", 1, 0)
    assert closed["memory_ids"] == [MemoryLog.objects.get().id]
    assert read(cast.alice).json()["state"] == "closed"
    say(cast.alice)
    assert read(cast.alice).json()["state"] == "buffered"
    flush_all()
    assert read(cast.alice).json()["state"] == "saved"


def test_the_same_key_is_answered_the_same_and_with_other_turns_refused(cast: Cast) -> None:
    first = say(cast.alice, key="k")
    again = say(cast.alice, key="k")
    other = say(cast.alice, key="k", role="user", content="Something else")

    assert again.json() == first.json()
    assert (first.get("Idempotency-Replayed"), again["Idempotency-Replayed"]) == (None, "true")
    assert other.status_code == 422
    assert other.json()["type"] == "urn:semantix:problem:idempotency-key-reused"
    assert read(cast.alice).json()["turn_count"] == 1


def test_a_tenants_conversations_are_listed_with_state_and_counts(cast: Cast) -> None:
    say(cast.alice, to="first")
    close(cast.alice, "first")
    say(cast.alice, to="second")
    say(cast.bob, to="his")

    listed = cast.alice.get("/conversations").json()["results"]

    assert [(c["conversation_id"], c["state"], c["turn_count"], c["buffered"]) for c in listed] == [
        ("second", "buffered", 1, 1),
        ("first", "closed", 1, 0),
    ]
    assert cast.alice.get("/conversations", page_size=1).json()["next"]


def test_others_can_neither_write_nor_see_nor_close(cast: Cast) -> None:
    say(cast.alice)

    for other in (cast.bob, cast.charlie):
        body = {**cast.alice.tenant._asdict(), **SAID}
        assert other.send("POST", "/conversations/support-1/turns", body).status_code == 403
        assert other.get("/conversations/support-1", **cast.alice.tenant._asdict()).status_code == 403
        assert (
            other.send("POST", "/conversations/support-1/close", cast.alice.tenant._asdict()).status_code
            == 403
        )
        assert read(other).status_code == 404
        assert other.get("/conversations").json()["results"] == []
    assert read(cast.alice).json()["turn_count"] == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"content": "hello"}, "/role"),
        ({"role": "user", "content": 5}, "/content"),
        ({"role": "user", "content": True}, "/content"),
        ({"role": "user", "content": "x" * 100_001}, "/content"),
        ({"role": " ", "content": "hello"}, "/role"),
        ({"role": "user", "content": "hello", "seq": 7}, "/seq"),
        ({"role": "user", "content": "hello", "at": "2026-01-01"}, "/at"),
        ({"turns": []}, "/turns"),
        ({"turns": [SAID, {"role": "user", "content": 5}]}, "/turns/1/content"),
        ({"turns": [SAID, {"content": "hello"}]}, "/turns/1/role"),
        ({"turns": [SAID], "role": "user"}, "/role"),
        ({"turns": [SAID] * 501}, "/turns"),
        ({"turns": [SAID], "idempotency": "k"}, "/idempotency"),
        ({**SAID, "metadata": list(range(10_000))}, ""),
        ({"turns": [SAID, {**SAID, "metadata": ["x" * 90_000] * 6}]}, "/turns/1"),
        ({"turns": "hello"}, "/turns"),
    ],
)
def test_what_is_no_turn_is_refused_by_its_place(cast: Cast, body: dict[str, Any], pointer: str) -> None:
    answer = say(cast.alice, **body)

    assert answer.status_code == 400
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert read(cast.alice).status_code == 404


def test_a_key_names_the_tenant_of_a_conversation(cast: Cast) -> None:
    said = cast.alice.send("POST", "/conversations/support-1/turns", {"role": "user", "content": "hello"})
    closed = cast.alice.send("POST", "/conversations/support-1/close", {})

    assert (said.status_code, closed.status_code) == (202, 200)
    assert cast.alice.get("/conversations/support-1").json()["user_id"] == cast.alice.tenant.user_id


def test_without_a_key_a_conversation_is_named_with_its_tenant(client: Client, settings: Any) -> None:
    settings.SEMANTIX_AUTH = "open"

    answer = client.get("/conversations/support-1")

    assert answer.status_code == 400
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/user_id", "/project_id"}


def test_a_name_that_is_too_long_is_refused(cast: Cast) -> None:
    assert say(cast.alice, to="n" * 201).status_code == 400


def test_an_empty_or_long_idempotency_key_is_refused(cast: Cast) -> None:
    for key in ("  ", "k" * 201):
        assert say(cast.alice, key=key).status_code == 400


def test_a_redis_that_is_away_is_told_and_loses_no_turn(cast: Cast, tmp_path: Any, settings: Any) -> None:
    with RedisServer(tmp_path) as server:
        settings.CONVERSATION_REDIS_URL = server.url
        say(cast.alice, role="user", content="one")
        server.process.stop()

        answer = say(cast.alice, role="user", content="two").json()

        assert (answer["buffer"], answer["degraded"]) == ("postgres", True)
        shown = read(cast.alice).json()
        assert ([turn["content"] for turn in shown["turns"]], shown["complete"]) == (["two"], False)
        assert shown["buffered"] is None
        assert cast.alice.get("/conversations").json()["results"][0]["buffered"] is None
        closed = close(cast.alice)
        assert (closed.status_code, closed["Retry-After"]) == (503, "5")
        assert "redis" in closed.json()["detail"]
