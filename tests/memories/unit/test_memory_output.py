"""What the API answers for a memory, without a database."""

from datetime import UTC, date, datetime, timedelta, timezone

from memories.api.serializers.memory_output import (
    MemoryLogOutput,
    Sync,
    Version,
    serialize,
    serialize_state,
    serialize_version,
)
from memories.models import MemoryLog, MemoryVersion

AT_A_WHOLE_SECOND = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)
IN_ANOTHER_ZONE = datetime(2026, 1, 31, 8, 15, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
CONTENT = {"user_id": "ada", "project_id": "demo", "task": "Fix the login", "agent": "coder"}
TIMES = {"created_at": IN_ANOTHER_ZONE, "updated_at": AT_A_WHOLE_SECOND}


def row() -> MemoryLog:
    return MemoryLog(
        id=7, **CONTENT, **TIMES, date=date(1, 1, 1), raw_data={"a": 1.5}, version=3, embedding=[1.0]
    )


def state() -> MemoryVersion:
    return MemoryVersion(
        pgh_obj_id=7,
        pgh_label="updated",
        pgh_created_at=AT_A_WHOLE_SECOND,
        **CONTENT,
        **TIMES,
        date=date(1, 1, 1),
        raw_data={},
        version=3,
    )


def test_a_memory_that_was_just_stored_is_pending() -> None:
    assert serialize(row()) == {
        "id": 7,
        **CONTENT,
        "date": "0001-01-01",
        "raw_data": {"a": 1.5},
        "external_id": None,
        "created_at": "2026-01-31T02:45:00.123456Z",
        "updated_at": "2026-01-31T08:15:00Z",
        "version": 3,
        "duplicate_of": None,
        "similar_to": None,
        "expires_at": None,
        "embedding": None,
        "sync": {
            "status": "pending",
            "version": 3,
            "indexed_version": None,
            "embedded_at": None,
            "indexed_at": None,
            "error": None,
        },
    }


def test_a_vector_is_answered_only_on_request() -> None:
    assert serialize(row(), embedding=True)["embedding"] == [1.0]


def test_an_answer_has_the_fields_that_the_schema_declares() -> None:
    assert set(serialize(row())) == set(MemoryLogOutput().fields)
    assert set(serialize(row())["sync"]) == set(Sync().fields)
    assert set(serialize_state(state())) == set(MemoryLogOutput().fields)
    assert set(serialize_version(state())) == set(Version().fields)
