"""manage.py load_memories: what it stores, what it says of lines it cannot."""

import json
import time
import tracemalloc
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memories.models import MemoryLog
from outbox.models import Event

pytestmark = pytest.mark.django_db

GOOD = {
    "user_id": "alice",
    "project_id": "web",
    "task": "Fix the login",
    "agent": "coder",
    "date": "2026-01-02",
}


def load(path: Path, **options: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("load_memories", str(path), stdout=out, stderr=err, **options)
    except CommandError as error:
        err.write(f"exit code {error.returncode}: {error}")
    return out.getvalue(), err.getvalue()


def file_of(path: Path, *lines: str) -> Path:
    file = path / "memories.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_every_line_becomes_a_memory_with_its_event(tmp_path: Path) -> None:
    out, err = load(file_of(tmp_path, json.dumps(GOOD), "", json.dumps(GOOD | {"task": "Fix the logout"})))

    assert "2 memories stored, 0 bad lines" in out
    assert err == ""
    assert set(MemoryLog.objects.values_list("task", flat=True)) == {"Fix the login", "Fix the logout"}
    assert Event.objects.filter(type="memory_log.stored", priority=10).count() == 2


def test_a_bad_line_is_reported_by_number_and_reason_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    lines = [
        json.dumps(GOOD),
        "{not json",
        json.dumps({"task": "no tenant"}),
        json.dumps(GOOD | {"task": "Last"}),
    ]

    out, err = load(file_of(tmp_path, *lines))

    assert "2 memories stored, 2 bad lines" in out
    assert "exit code 1: 2 lines" in err
    assert "line 2: " in err
    assert "not valid JSON" in err
    assert "line 3: " in err
    assert "/user_id" in err
    assert MemoryLog.objects.filter(task="Last").exists()


def test_a_byte_order_mark_is_read_past(tmp_path: Path) -> None:
    file = tmp_path / "memories.jsonl"
    file.write_text(json.dumps(GOOD), encoding="utf-8-sig")

    assert "1 memories stored, 0 bad lines" in load(file)[0]


def test_an_unknown_field_makes_a_line_bad_and_is_named(tmp_path: Path) -> None:
    out, err = load(file_of(tmp_path, json.dumps(GOOD | {"tags": ["auth"]}), json.dumps(GOOD | {"dat": "?"})))

    assert "0 memories stored, 2 bad lines" in out
    assert "line 1: /tags: Unknown field" in err
    assert "line 2: /dat: Unknown field. Did you mean date?" in err


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"a": 1, "a": 1}', id="a repeated key"),
        pytest.param(json.dumps(GOOD | {"raw_data": {"a": float("nan")}}), id="NaN"),
        pytest.param(json.dumps(GOOD | {"raw_data": {"a": [0] * 20_000}}), id="too many items"),
        pytest.param("[" * 100_000, id="too deep"),
        pytest.param(json.dumps(GOOD | {"raw_data": {"a": "x" * 200_000}}), id="a long string"),
        pytest.param(
            json.dumps(GOOD | {"raw_data": {str(n): [0] * 5_000 for n in range(5)}}), id="many values"
        ),
    ],
)
def test_a_line_has_the_limits_of_a_body(tmp_path: Path, line: str) -> None:
    out, _ = load(file_of(tmp_path, line, json.dumps(GOOD)))

    assert "1 memories stored, 1 bad lines" in out


def test_a_line_above_the_limit_of_a_body_is_skipped_without_reading_it_whole(
    tmp_path: Path, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    long = json.dumps(GOOD | {"raw_data": {"a": "x" * 5_000_000}})
    file = file_of(tmp_path, json.dumps(GOOD), long, json.dumps(GOOD), long)

    tracemalloc.start()
    out, err = load(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert "2 memories stored, 2 bad lines" in out
    assert "line 2: A body may have 1,000 bytes" in err
    assert "line 4: " in err
    assert peak < 2_000_000


def test_twice_the_lines_take_about_twice_the_time(tmp_path: Path) -> None:
    """Each line has a repeated key at its end. The lines are bad, so that only their parsing takes time."""

    def seconds(keys: int) -> float:
        pairs = ", ".join(f'"key {n}": {n}' for n in range(keys))
        file = file_of(tmp_path, f'{{{pairs}, "key {keys - 1}": 0}}')
        started = time.process_time()
        load(file)
        return time.process_time() - started

    shorter, longer = (min(seconds(keys) for _ in range(3)) for keys in (8_000, 16_000))

    assert longer <= 3.5 * shorter + 0.02


def test_the_outcome_as_json(tmp_path: Path) -> None:
    out, _ = load(file_of(tmp_path, json.dumps(GOOD)), json=True)

    assert json.loads(out) == {"stored": 1, "bad": 0}
