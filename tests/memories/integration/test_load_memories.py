"""manage.py load_memories: what it stores, what it says of lines it cannot."""

import json
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


def test_the_outcome_as_json(tmp_path: Path) -> None:
    out, _ = load(file_of(tmp_path, json.dumps(GOOD)), json=True)

    assert json.loads(out) == {"stored": 1, "bad": 0}
