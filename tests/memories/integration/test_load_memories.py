"""manage.py load_memories: what it stores, what it says of lines it cannot."""

import json
import time
import tracemalloc
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test import Client

from memories.management.commands import load_memories
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory, update_memory
from outbox.models import Event
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

LATER = datetime(2999, 1, 1, tzinfo=UTC)
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

    assert "1 memory stored, 0 bad lines" in load(file)[0]


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

    assert "1 memory stored, 1 bad line" in out


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
    file = file_of(tmp_path, json.dumps(GOOD), "{")

    assert json.loads(load(file, json=True)[0]) == {
        "stored": 1,
        "replaced": 0,
        "unchanged": 0,
        "bad": 1,
        "bad_lines": str(tmp_path / "memories.bad.jsonl"),
    }
    assert json.loads(load(file, json=True)[0])["unchanged"] == 1


class TestTwice:
    """A file that is loaded again stores nothing twice."""

    def test_equal_lines_are_memories_of_their_own_and_all_are_known_again(self, tmp_path: Path) -> None:
        lines = [json.dumps(GOOD), json.dumps(GOOD), json.dumps(GOOD | {"task": "Other"})]
        load(file_of(tmp_path, *lines[:2]))
        out, err = load(file_of(tmp_path, *lines))
        load(file_of(tmp_path, *lines))

        assert "1 memory stored, 0 bad lines." in out
        assert "0 replaced, 2 unchanged" in out
        assert err == ""
        assert MemoryLog.objects.count() == 3
        assert Event.objects.filter(type="memory_log.stored").count() == 3

    def test_an_external_id_is_replaced_where_the_line_differs(self, tmp_path: Path) -> None:
        one, two = (GOOD | {"external_id": name} for name in ("one", "two"))
        load(file_of(tmp_path, json.dumps(one), json.dumps(two)))

        out, _ = load(file_of(tmp_path, json.dumps(one), json.dumps(two | {"task": "New"}), json.dumps(two)))

        assert "Stored already: 2 replaced, 1 unchanged" in out
        assert set(MemoryLog.objects.values_list("task", "version")) == {(GOOD["task"], 1), (GOOD["task"], 3)}

    def test_it_goes_on_after_the_batch_in_which_it_was_stopped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(load_memories, "BATCH_LINES", 2)
        lines = [json.dumps(GOOD | {"task": f"Task {n}"}) for n in range(5)]
        parse = load_memories.parse_line

        def stop_at_the_fourth(line: bytes) -> Any:
            if b"Task 3" in line:
                raise KeyboardInterrupt
            return parse(line)

        monkeypatch.setattr(load_memories, "parse_line", stop_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            load(file_of(tmp_path, *lines))
        assert MemoryLog.objects.count() == 2

        monkeypatch.setattr(load_memories, "parse_line", parse)
        out, _ = load(file_of(tmp_path, *lines))

        assert "3 memories stored" in out
        assert "0 replaced, 2 unchanged" in out


class TestBadLines:
    """Bad lines are written to a file that can be mended and loaded."""

    def test_they_are_written_unchanged(self, tmp_path: Path) -> None:
        bad = ["{not json", json.dumps({"task": "no tenant"})]
        file = file_of(tmp_path, json.dumps(GOOD), *bad)

        _, err = load(file)

        written = tmp_path / "memories.bad.jsonl"
        assert written.read_text().splitlines() == bad
        assert f"mend them in {written}" in err
        written.write_text(json.dumps(GOOD | {"task": "Mended"}))
        assert "1 memory stored" in load(written)[0]

    def test_a_line_that_only_postgres_refuses_is_one_of_them(self, tmp_path: Path) -> None:
        """The next version of a memory at the highest version is out of the column's range."""
        highest = GOOD | {"external_id": "highest", "version": 2**31 - 1}
        load(file_of(tmp_path, json.dumps(highest)))
        tasks = ["One", "Two", "Three", "Four"]
        lines = [json.dumps(GOOD | {"task": task}) for task in tasks]
        refused = json.dumps(highest | {"task": "Changed"})

        out, err = load(file_of(tmp_path, *lines[:2], refused, *lines[2:]))

        assert "4 memories stored, 1 bad line" in out
        assert "line 3: PostgreSQL refuses it: integer out of range" in err
        assert "exit code 1" in err
        assert (tmp_path / "memories.bad.jsonl").read_text().splitlines() == [refused]
        assert set(MemoryLog.objects.values_list("task", flat=True)) == {GOOD["task"], *tasks}

    def test_the_file_may_be_named_and_is_not_made_without_bad_lines(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        load(file_of(tmp_path, json.dumps(GOOD)), bad_lines=str(elsewhere))
        assert not elsewhere.exists()

        load(file_of(tmp_path, "{"), bad_lines=str(elsewhere))
        assert elsewhere.read_text() == "{\n"

    def test_the_file_itself_is_not_overwritten(self, tmp_path: Path) -> None:
        file = file_of(tmp_path, "{")

        _, err = load(file, bad_lines=str(file))

        assert "is the file that is loaded" in err
        assert file.read_text() == "{"

    def test_a_file_that_cannot_be_written_is_reported(self, tmp_path: Path) -> None:
        _, err = load(file_of(tmp_path, "{"), bad_lines=str(tmp_path / "no folder" / "x"))

        assert "Cannot write" in err


class TestRoundTrip:
    """What export_memories wrote is loaded as it was."""

    def test_everything_is_as_it_was(self, tmp_path: Path) -> None:
        self.memories()
        drain()
        exported = self.export(tmp_path)
        clear()

        out, err = load(tmp_path / "export.jsonl")

        assert ("3 memories stored, 0 bad lines" in out, err) == (True, "")
        assert without_ids(self.export(tmp_path)) == without_ids(exported)
        assert set(MemoryLog.objects.values_list("embedded_hash", flat=True)) == set(
            MemoryLog.objects.values_list("content_hash", flat=True)
        )
        embedded = set(MemoryLog.objects.values_list("embedded_at", flat=True))
        drain()
        assert set(MemoryLog.objects.values_list("embedded_at", flat=True)) == embedded
        assert MemoryLog.objects.filter(indexed_version=F("version")).count() == 3

    def test_earlier_states_can_be_read(self, tmp_path: Path, client: Client) -> None:
        row = self.memories()[0]
        self.export(tmp_path)
        clear()

        load(tmp_path / "export.jsonl")

        path = f"/memory-logs/{MemoryLog.objects.get(task='Second').id}"
        moment = row.created_at.isoformat().replace("+00:00", "Z")
        assert client.get(path, {"as_of": moment}).json()["task"] == "First"
        assert [each["version"] for each in client.get(f"{path}/history").json()["results"]] == [1, 2]

    def test_loaded_where_it_was_exported_it_changes_nothing(self, tmp_path: Path) -> None:
        self.memories()
        before = without_ids(self.export(tmp_path))

        out, _ = load(tmp_path / "export.jsonl")
        load(tmp_path / "export.jsonl")

        assert "0 memories stored" in out
        assert "0 replaced, 3 unchanged" in out
        assert without_ids(self.export(tmp_path)) == before

    def test_a_memory_that_was_changed_since_the_export_stays(self, tmp_path: Path) -> None:
        row = self.memories()[0]
        self.export(tmp_path)
        update_memory(row.id, {"task": "Third"})

        load(tmp_path / "export.jsonl")

        assert MemoryLog.objects.get(id=row.id).task == "Third"

    def test_an_unusable_embedding_is_ignored(self, tmp_path: Path) -> None:
        line = GOOD | {"embedding": [1.0, 1.0], "embedding_model": "other"}

        load(file_of(tmp_path, json.dumps(line)))

        assert MemoryLog.objects.get().embedded_hash == ""

    def test_a_conversation_is_skipped(self, tmp_path: Path) -> None:
        out, err = load(file_of(tmp_path, json.dumps({"conversation": {"turns": []}}), json.dumps(GOOD)))

        assert "1 memory stored, 0 bad lines" in out
        assert "1 conversation skipped" in err

    def test_a_malformed_version_makes_the_line_bad(self, tmp_path: Path) -> None:
        _, err = load(file_of(tmp_path, json.dumps(GOOD | {"versions": [{"change": "created"}]})))

        assert "line 1: /versions/0/" in err

    @staticmethod
    def memories() -> list[MemoryLog]:
        tenant = new_tenant()._asdict()
        rows = [
            create_memory(NewMemory(**tenant, task="First", agent="a", raw_data={"n": 10**22, "x": 0.1})),
            create_memory(NewMemory(**tenant, task="With id", agent="a", external_id="one")),
            create_memory(NewMemory(**tenant, task="Soon gone", agent="a", expires_at=LATER)),
        ]
        update_memory(rows[0].id, {"task": "Second"})
        return rows

    @staticmethod
    def export(folder: Path) -> list[dict[str, Any]]:
        path = folder / "export.jsonl"
        call_command("export_memories", output=str(path), versions=True, embeddings=True, stdout=StringIO())
        return [json.loads(line) for line in path.read_text().splitlines()]


def clear() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE memory_logs, memory_versions, outbox_event CASCADE")


def without_ids(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what the service counts by itself: ids, and how far the memory is in its index."""
    for line in lines:
        del line["id"], line["sync"]
        for version in line["versions"]:
            del version["id"]
    return lines
