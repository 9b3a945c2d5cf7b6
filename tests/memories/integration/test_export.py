"""Export: everything that a key opens, as lines that can be loaded again, in pages that can be resumed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from memories.api import exports
from memories.conversations import flush
from memories.models import Conversation
from outbox.testing import drain
from tests.support.events import answer, run
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def export(actor: Actor, **query: Any) -> list[dict[str, Any]]:
    """All lines, through all pages."""
    lines: list[dict[str, Any]] = []
    response = actor.get("/exports", **query)
    while True:
        assert response.status_code == 200, response.content
        lines += [json.loads(line) for line in response.content.splitlines()]
        following = re.fullmatch(r'<(.+)>; rel="next"', response.headers.get("Link", ""))
        if following is None:
            return lines
        response = actor.client.get(following[1].removeprefix("http://testserver"))


def test_a_line_is_what_reading_the_memory_answers(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"tags": ["a"], "naïve": "日本"})
    cast.bob.remember()

    assert export(cast.alice) == [cast.alice.get(f"/memory-logs/{stored['id']}").json()]


def test_an_integer_beyond_64_bits_is_exported(cast: Cast) -> None:
    cast.alice.remember(raw_data={"many": 10**22, "text": "日本"})

    assert [line["raw_data"] for line in export(cast.alice)] == [{"many": 10**22, "text": "日本"}]


def test_all_pages_together_have_each_memory_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 2)
    ids = [cast.alice.remember()["id"] for _ in range(5)]

    assert [line["id"] for line in export(cast.alice, include="conversations")] == ids


def test_a_page_is_bounded_in_bytes(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_BYTES", 1500)
    ids = [cast.alice.remember(raw_data={"text": "x" * 600})["id"] for _ in range(5)]

    first = cast.alice.get("/exports")

    assert len(first.content.splitlines()) == 2
    assert [line["id"] for line in export(cast.alice)] == ids


def test_versions_and_vectors_come_when_they_are_asked_for(cast: Cast) -> None:
    stored = cast.alice.remember(task="first")
    cast.alice.send("PATCH", f"/memory-logs/{stored['id']}", {"task": "second"})
    drain()

    [plain] = export(cast.alice)
    [full] = export(cast.alice, include="versions,embeddings")

    assert "versions" not in plain
    assert plain["embedding"] is None
    assert [version["task"] for version in full["versions"]] == ["first", "second"]
    assert len(full["embedding"]) == 768
    assert full["embedding_model"]


def test_conversations_come_with_their_turns_saved_or_waiting(cast: Cast) -> None:
    for content in ("saved", "waiting"):
        turn = cast.alice.tenant._asdict() | {"role": "user", "content": content}
        cast.alice.send("POST", "/conversations/talk/turns", turn)
        if content == "saved":
            flush.close(Conversation.objects.get())

    [memory, told] = export(cast.alice, include="conversations")

    assert memory["raw_data"]["turns"][0]["content"] == "saved"
    assert told["conversation"]["conversation_id"] == "talk"
    assert [turn["content"] for turn in told["conversation"]["turns"]] == ["saved", "waiting"]
    assert told["conversation"]["complete"] is True


@pytest.mark.parametrize(
    "query", [{"cursor": "nonsense"}, {"cursor": "memories-x"}, {"include": "everything"}]
)
def test_what_it_does_not_know_is_refused(cast: Cast, query: dict[str, str]) -> None:
    assert cast.alice.get("/exports", **query).status_code == 400


def test_the_command_writes_a_whole_file_or_none(cast: Cast, tmp_path: Path) -> None:
    stored = cast.alice.remember()
    user, project = cast.alice.tenant
    path = tmp_path / "alice.jsonl"

    told = answer("export_memories", "--user-id", user, "--project-id", project, "--output", str(path))

    assert told == {"lines": 1, "file": str(path)}
    assert json.loads(path.read_text())["id"] == stored["id"]
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(CommandError, match="Cannot write"):
        run("export_memories", "--user-id", user, "--output", str(tmp_path / "no folder" / "x.jsonl"))
