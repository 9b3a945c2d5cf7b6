"""Memories of other services as lines that `load_memories` takes.

Nothing is refused here. A line without a task, say, is refused by `load_memories`, which keeps it to be mended.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from memories.api.limits import TEXT_LENGTH

Line = dict[str, Any]

# Fields of mem0 that have a field of their own here, or nothing to say here.
OWN_FIELD = {"id", "memory", "user_id", "app_id", "agent_id", "created_at", "updated_at", "expiration_date"}
NO_USE = {"hash", "metadata", "score"}


class ImportCommand(BaseCommand):
    """A command that loads the lines of another service. Loading twice stores nothing twice."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bad-lines", metavar="FILE", help="where to write lines that cannot be stored, to be mended"
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def load(self, lines: Iterator[Line], *, bad_lines: Path, as_json: bool) -> None:
        """Store the lines as `load_memories` does, with its report and its exit code."""
        with NamedTemporaryFile("w", prefix="semantix-import-", suffix=".jsonl") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()
            call_command(
                "load_memories",
                file.name,
                bad_lines=str(bad_lines),
                json=as_json,
                stdout=self.stdout,
                stderr=self.stderr,
            )


def mem0_records(file: Path) -> Iterator[Any]:
    """The memories in a file of JSON, or of JSON lines: alone, in lists, or as pages of get_all or an export."""
    text = file.read_text("utf-8-sig")
    try:
        yield from _records(json.loads(text))
    except ValueError:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield from _records(_parsed(line, f"Line {number} of {file}"))


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"{place} is no JSON: {error}. Nothing after it was loaded.") from error


def _records(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _records(each)
    elif isinstance(value, dict) and isinstance(page := value.get("results", value.get("memories")), list):
        yield from page
    else:
        yield value


def mem0_line(record: Any, tenant: Mapping[str, str]) -> Line:
    """A memory of mem0. `tenant`: the user_id and project_id to use instead of the record's user_id and app_id."""
    if not isinstance(record, dict):
        return {**tenant, "agent": "mem0", "raw_data": {"mem0": record}}
    memory = record.get("memory")
    more = {name: record[name] for name in record.keys() - OWN_FIELD - NO_USE if record[name] is not None}
    raw_data = more | (record.get("metadata") or {})
    if isinstance(memory, str) and len(memory) > TEXT_LENGTH:
        raw_data |= {"memory": memory}
        memory = memory[:TEXT_LENGTH]
    day = record.get("expiration_date")
    line = {
        "user_id": record.get("user_id"),
        "project_id": record.get("app_id"),
        **tenant,
        "task": memory,
        "agent": record.get("agent_id") or "mem0",
        "date": str(record["created_at"])[:10] if record.get("created_at") else None,
        "raw_data": raw_data,
        "external_id": f"mem0:{record['id']}" if record.get("id") else None,
        "created_at": record.get("created_at"),
        "updated_at": record.get("updated_at"),
        "expires_at": f"{day}T23:59:59Z" if day and len(str(day)) == len("2026-01-31") else day,
    }
    return {name: value for name, value in line.items() if value is not None}


def langgraph_line(row: Mapping[str, Any], tenant: Mapping[str, str]) -> Line:
    """A row of LangGraph's table `store`, as `semantix_client.langgraph.SemantixStore` keeps an item."""
    namespace, key = row["prefix"].split("."), row["key"]
    digest = hashlib.sha256(json.dumps([*namespace, key]).encode()).hexdigest()
    levels = {f"namespace_{place}": label for place, label in enumerate(namespace)}
    item = {"namespace": namespace, "key": key, "value": row["value"], "ttl": row.get("ttl_minutes")}
    line = {
        **tenant,
        "task": f"{'/'.join(namespace)}: {key}",
        "agent": "langgraph",
        "date": row["created_at"][:10],
        "raw_data": levels | {name: value for name, value in item.items() if value is not None},
        "external_id": f"langgraph:{digest}",
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "expires_at": row.get("expires_at"),
    }
    return {name: value for name, value in line.items() if value is not None}


def has_expired(line: Line) -> bool:
    """Whether its time is over: it is not imported."""
    try:
        moment = datetime.fromisoformat(line["expires_at"])
    except (KeyError, TypeError, ValueError):
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= datetime.now(UTC)
