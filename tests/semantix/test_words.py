"""The words of the service at a terminal: one is singular, times end in Z, and an error says what to type."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from memories.records.services import NewMemory, create_memory
from outbox.counting import counted
from outbox.testing import drain
from tests.support.events import stored
from tests.support.tenants import new_tenant

# A plural after the number one, perhaps behind an adjective.
ONE_OF_MANY = re.compile(r"(?<![\d.,])1 (?:\w+ )?\w{3,}s\b")


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1200, "1,200 events")]
)
def test_a_number_has_its_noun(number: int, told: str) -> None:
    assert counted(number, "event") == told
    assert counted(number, "memory", "memories") == told.replace("events", "memories").replace(
        "event", "memory"
    )


@pytest.mark.django_db(transaction=True)
class TestOne:
    """Every command that counts, over one of each."""

    @pytest.fixture(autouse=True)
    def _one(self) -> None:
        self.tenant = new_tenant()
        create_memory(NewMemory(**self.tenant._asdict(), task="Fix it", agent="coder"))
        drain()

    def said(self, *command: str, **options: Any) -> str:
        out, err = StringIO(), StringIO()
        try:
            call_command(*command, stdout=out, stderr=err, **options)
        except CommandError as error:
            err.write(str(error))
        return out.getvalue() + err.getvalue()

    @pytest.mark.parametrize(
        "command",
        [
            ("rebuild_index",),
            ("backfill_embeddings",),
            ("verify_index", "--repair"),
            ("flush_conversations",),
            ("outbox_status",),
            ("outbox_doctor",),
            ("outbox_replay", "--type", "memory_log.stored"),
            ("outbox_retry", "--all"),
            ("outbox_retry", "--all", "--dry-run"),
            ("outbox_prune", "--days", "0"),
        ],
        ids=" ".join,
    )
    def test_a_command_says_one_in_the_singular(self, command: tuple[str, ...]) -> None:
        from outbox.models import Status

        stored("test.noted", Status.DEAD)
        text = self.said(*command)

        assert text
        assert not ONE_OF_MANY.search(text), text

    def test_loading_and_exporting_one_memory(self, tmp_path: Path) -> None:
        file = tmp_path / "one.jsonl"
        exported = self.said("export_memories", "--output", str(file))
        (tmp_path / "two.jsonl").write_text(
            json.dumps({**self.tenant._asdict(), "task": "Fix that", "agent": "coder"}) + "\n{\n"
        )
        loaded = self.said("load_memories", str(tmp_path / "two.jsonl"))

        assert "1 line in" in exported
        assert "1 memory stored, 1 bad line." in loaded
        assert not ONE_OF_MANY.search(exported + loaded)

    def test_a_key_says_its_end_in_utc(self) -> None:
        told = self.said("create_api_key", "--user-id", "ada", "--expires", "2099-01-31T18:00+02:00")

        assert "until 2099-01-31 16:00:00Z" in told


def test_a_401_says_which_header_and_which_command_makes_a_key(
    client: Client, settings: Any, db: None
) -> None:
    settings.SEMANTIX_AUTH = "required"
    for path in ("/memory-logs", "/memory-logs/events"):
        refused = client.get(path)

        assert refused.status_code == 401
        assert "Authorization: Bearer <key>" in refused.json()["detail"]
        assert "manage.py create_api_key --user-id USER" in refused.json()["detail"]


def test_times_of_the_admin_end_in_z() -> None:
    from django.utils.formats import get_format

    assert get_format("DATETIME_FORMAT") == r"Y-m-d H:i:s\Z"
