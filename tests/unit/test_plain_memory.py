"""The short way through a memory's fields and DRF's: what the short one takes, both take alike."""

from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from memories.api.serializers.memory_log import MemoryLogInput
from memories.api.serializers.plain import plain_memory

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
