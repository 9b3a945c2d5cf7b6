"""The short way through a memory's fields and DRF's: what the short one takes, both take alike."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from memories.api.serializers.memory_log import MemoryLogInput, MemoryLogOutput
from memories.api.serializers.plain import plain_memory, serialize
from memories.models import MemoryLog
from memories.records.sync_status import SyncStatus

PLAIN: dict[str, Any] = {"user_id": "ada", "project_id": "demo", "task": "Fix the login", "agent": "coder"}
TEXTS = [
    "ä 漢",
    "",
    " ",
    " ada",
    "ada ",
    "a\nb",
    "a\u00a0",
    "\x00",
    "\ud800",
    "x" * 200,
    "x" * 201,
    "x" * 10_001,
]
DATES = ["2026-01-31", "2026-1-5", "20260105", "2026-W01-1", "0001-01-01", "2026-01-05T10:00", "soon", ""]
OTHERS = [None, 5, True, 1.5, [], ["ada"], {}, {"a": None}]


def given_by_the_serializer(memory: object) -> dict[str, Any] | None:
    try:
        return dict(MemoryLogInput().run_validation(memory))
    except ValidationError:
        return None


@pytest.mark.parametrize("name", [*PLAIN, "date", "raw_data", "unknown"])
@pytest.mark.parametrize("value", [*TEXTS, *DATES, *OTHERS], ids=ascii)
def test_what_is_plain_is_what_the_serializer_gives(name: str, value: object) -> None:
    memory = PLAIN | {name: value}

    assert plain_memory(memory) in (None, given_by_the_serializer(memory))


@pytest.mark.parametrize("name", PLAIN)
def test_a_field_that_is_missing_is_the_serializers_to_refuse(name: str) -> None:
    assert plain_memory({key: value for key, value in PLAIN.items() if key != name}) is None


def test_a_usual_memory_is_plain() -> None:
    memory = PLAIN | {"date": "2026-01-31", "raw_data": {"summary": "a\nb"}, "unknown": 1}

    assert plain_memory(memory) == given_by_the_serializer(memory)
    assert plain_memory(memory)


@pytest.mark.parametrize("given", OTHERS)
def test_what_is_no_memory_is_not(given: object) -> None:
    assert plain_memory(given) is None


WHOLE = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)
ELSEWHERE = datetime(2026, 1, 31, 8, 15, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))


@pytest.mark.parametrize(
    "found",
    [
        {},
        {
            "embedded_at": WHOLE,
            "indexed_at": ELSEWHERE,
            "indexed_version": 3,
            "sync_status": SyncStatus.INDEXED,
        },
        {"sync_status": "failed", "sync_error": "It was refused."},
        {"date": date(1, 1, 1), "raw_data": {"a": [1, None, {"b": 1.5}]}},
    ],
)
def test_a_memory_is_shown_as_by_the_serializer(found: dict[str, Any]) -> None:
    row = MemoryLog(
        id=7,
        **PLAIN,
        date=date(2026, 1, 31),
        version=3,
        created_at=ELSEWHERE,
        updated_at=WHOLE,
        embedding=[1.0],
    )
    for name, value in found.items():
        setattr(row, name, value)

    assert list(serialize(row).items()) == list(MemoryLogOutput(row).data.items())
    assert list(serialize(row)["sync"]) == list(MemoryLogOutput(row).data["sync"])
