"""PATCH with application/merge-patch+json: raw_data is merged, not replaced."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from memories.api import limits
from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.indexed import held
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)

KIND = "application/merge-patch+json"


def patch(actor: Actor, memory: dict[str, Any], body: Any, method: str = "patch", **headers: str) -> Any:
    send = getattr(actor.client, method)
    return send(f"/memory-logs/{memory['id']}", body, content_type=KIND, headers=headers)


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 400, answer.content
    return [error["pointer"] for error in answer.json()["errors"]]


def test_raw_data_is_merged_and_null_removes_a_key(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"a": 1, "b": {"c": 2, "d": 3}, "e": [1]})

    answer = patch(
        cast.alice, stored, {"task": "Bake bread", "raw_data": {"a": None, "b": {"c": 4}, "e": [2]}}
    )

    changed = answer.json()
    assert answer.status_code == 200
    assert changed["raw_data"] == {"b": {"c": 4, "d": 3}, "e": [2]}
    assert (changed["task"], changed["agent"], changed["version"]) == ("Bake bread", stored["agent"], 2)
    drain()
    entry = held(MemoryLog.objects.get())
    assert entry is not None
    assert entry["version"] == 2


def test_plain_json_still_replaces_raw_data(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"a": 1, "b": 2})

    changed = cast.alice.send("PATCH", f"/memory-logs/{stored['id']}", {"raw_data": {"b": 3}})

    assert changed.json()["raw_data"] == {"b": 3}


def test_null_removes_what_may_be_missing_and_nothing_else(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"a": 1}, expires_at="2999-01-01T00:00:00Z")

    changed = patch(cast.alice, stored, {"raw_data": None, "expires_at": None}).json()

    assert (changed["raw_data"], changed["expires_at"]) == ({}, None)
    assert pointers(patch(cast.alice, stored, {"task": None})) == ["/task"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"raw_data": []}, "/raw_data"),
        ({"raw_data": "text"}, "/raw_data"),
        ({"tags": ["a"]}, "/tags"),
        ({"user_id": "other"}, "/user_id"),
        ([], ""),
    ],
)
def test_what_is_no_patch_of_a_memory_is_refused(cast: Cast, body: Any, pointer: str) -> None:
    stored = cast.alice.remember(raw_data={"a": 1})

    assert pointers(patch(cast.alice, stored, body)) == [pointer]
    assert MemoryLog.objects.get().version == 1


def test_the_merged_memory_has_the_limits_of_any_other(cast: Cast, settings: Any) -> None:
    settings.MEMORY_MAX_BYTES = 50_000
    stored = cast.alice.remember(
        raw_data={"a": {f"old {n}": n for n in range(limits.KEYS)}, "b": "x" * 20_000}
    )

    keys = patch(cast.alice, stored, {"raw_data": {"a": {"new": 1}}})
    size = patch(cast.alice, stored, {"raw_data": {"c": "y" * 20_000}})

    assert pointers(keys) == ["/raw_data/a"]
    assert "MEMORY_MAX_BYTES" in size.json()["detail"]
    assert MemoryLog.objects.get().version == 1


def test_a_patch_may_be_meant_for_one_version(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"a": 1})

    first = patch(cast.alice, stored, {"raw_data": {"b": 2}}, **{"If-Match": '"1"'})
    second = patch(cast.alice, stored, {"raw_data": {"b": 3}}, **{"If-Match": '"1"'})

    assert (first.status_code, second.status_code) == (200, 412)


def test_only_patch_takes_it(cast: Cast) -> None:
    stored = cast.alice.remember()

    assert patch(cast.alice, stored, stored, method="put").status_code == 415
    assert cast.alice.client.post("/memory-logs", cast.alice.memory(), content_type=KIND).status_code == 415


def test_patches_that_come_at_once_lose_none_of_each_other(cast: Cast) -> None:
    stored = cast.alice.remember()

    def add(number: int) -> int:
        try:
            status: int = patch(cast.alice, stored, {"raw_data": {f"key {number}": number}}).status_code
            return status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(add, range(12))) == {200}

    assert MemoryLog.objects.get().raw_data == {f"key {number}": number for number in range(12)}
