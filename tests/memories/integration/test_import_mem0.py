"""manage.py import_mem0: what becomes of the memories in the answers and exports of mem0."""

import json
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memories.models import MemoryLog
from outbox.testing import drain

pytestmark = pytest.mark.django_db(transaction=True)

# As get_all of mem0 answers them: its library, and its platform.
LIBRARY = {
    "id": "8a4b0c2e-0000-4000-8000-000000000001",
    "memory": "Prefers dark mode",
    "hash": "c0ffee",
    "created_at": "2026-01-31T10:00:00.000000+00:00",
    "updated_at": None,
    "user_id": "ada",
    "agent_id": "helper",
    "run_id": "session-7",
    "metadata": {"kind": "preference", "source": {"page": 3}},
}
PLATFORM = {
    "id": "8a4b0c2e-0000-4000-8000-000000000002",
    "memory": "Lives in London",
    "user_id": "bob",
    "app_id": "travel",
    "metadata": None,
    "categories": ["places"],
    "created_at": "2026-02-01T01:30:36.275141-07:00",
    "updated_at": "2026-02-02T01:30:36.275172-07:00",
    "expiration_date": "2999-12-31",
    "immutable": False,
}


def load(path: Path, *options: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("import_mem0", str(path), *options, stdout=out, stderr=err)
    except CommandError as error:
        err.write(f"exit code {error.returncode}: {error}")
    return out.getvalue(), err.getvalue()


def written(folder: Path, content: Any) -> Path:
    file = folder / "mem0.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_each_memory_keeps_what_mem0_knew_of_it(tmp_path: Path) -> None:
    out, err = load(written(tmp_path, {"results": [LIBRARY, PLATFORM]}), "--project-id", "demo")

    assert ("2 memories stored" in out, err) == (True, "")
    ada, bob = MemoryLog.objects.order_by("id")
    assert (ada.user_id, ada.project_id, ada.task, ada.agent) == (
        "ada",
        "demo",
        "Prefers dark mode",
        "helper",
    )
    assert ada.raw_data == {"kind": "preference", "source": {"page": 3}, "run_id": "session-7"}
    assert (ada.external_id, ada.date) == (f"mem0:{LIBRARY['id']}", date(2026, 1, 31))
    assert ada.created_at == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert bob.raw_data == {"categories": ["places"], "immutable": False}
    assert bob.expires_at == datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert bob.updated_at == datetime.fromisoformat(PLATFORM["updated_at"])


@pytest.mark.parametrize(
    "content",
    [
        [LIBRARY, PLATFORM],
        [{"results": [LIBRARY]}, {"results": [PLATFORM]}],
        {"memories": [LIBRARY, PLATFORM]},
        f"{json.dumps(LIBRARY)}\n\n{json.dumps(PLATFORM)}\n",
        f"{json.dumps({'results': [LIBRARY]})}\n{json.dumps({'results': [PLATFORM]})}",
    ],
    ids=["a list", "pages", "an export", "lines", "lines of pages"],
)
def test_every_form_of_file_is_read(tmp_path: Path, content: Any) -> None:
    load(written(tmp_path, content), "--project-id", "demo")

    assert [row.task for row in MemoryLog.objects.order_by("id")] == ["Prefers dark mode", "Lives in London"]


def test_an_import_again_stores_nothing_twice_and_brings_what_has_changed(tmp_path: Path) -> None:
    load(written(tmp_path, [LIBRARY, PLATFORM]), "--project-id", "demo")
    changed = LIBRARY | {"memory": "Prefers light mode"}

    out, _ = load(written(tmp_path, [changed, PLATFORM]), "--project-id", "demo")

    assert "0 memories stored" in out
    assert "1 replaced, 1 unchanged" in out
    assert MemoryLog.objects.get(user_id="ada").task == "Prefers light mode"


def test_bad_records_are_kept_as_lines_that_can_be_mended_and_loaded(tmp_path: Path) -> None:
    file = written(tmp_path, [LIBRARY, {"id": "1", "user_id": "ada"}, "no object", PLATFORM])

    out, err = load(file, "--project-id", "demo")

    assert "2 memories stored, 2 bad lines" in out
    assert "line 2: /task" in err
    assert "exit code 1" in err
    bad_lines = tmp_path / "mem0.bad.jsonl"
    lines = [json.loads(line) for line in bad_lines.read_text().splitlines()]
    mended = [line | {"task": "mended", "user_id": "ada"} for line in lines]
    bad_lines.write_text("\n".join(map(json.dumps, mended)))
    out = StringIO()
    call_command("load_memories", str(bad_lines), stdout=out)
    assert "2 memories stored, 0 bad lines" in out.getvalue()


def test_without_a_project_each_line_says_what_is_missing(tmp_path: Path) -> None:
    _, err = load(written(tmp_path, [LIBRARY]))

    assert "line 1: /project_id" in err


def test_an_expired_memory_is_not_brought_back(tmp_path: Path) -> None:
    out, err = load(written(tmp_path, [LIBRARY | {"expiration_date": "2020-01-31"}]), "--project-id", "demo")

    assert "0 memories stored" in out
    assert "1 expired memory skipped" in err


def test_a_long_memory_keeps_its_whole_text(tmp_path: Path) -> None:
    load(written(tmp_path, [LIBRARY | {"memory": "word " * 5_000}]), "--project-id", "demo")

    row = MemoryLog.objects.get()
    assert row.raw_data["memory"] == "word " * 5_000
    assert len(row.task) <= 10_000


@pytest.mark.parametrize(("content", "told"), [('{"a": 1}\n{"b"', "Line 2 of"), ("nothing", "Line 1 of")])
def test_a_file_that_is_no_json_is_told_with_its_line(tmp_path: Path, content: str, told: str) -> None:
    _, err = load(written(tmp_path, content), "--project-id", "demo")

    assert told in err
    assert not MemoryLog.objects.exists()


def test_imported_memories_are_found(tmp_path: Path) -> None:
    load(written(tmp_path, [LIBRARY]), "--project-id", "demo")

    drain()

    row = MemoryLog.objects.get()
    assert row.indexed_version == row.version
