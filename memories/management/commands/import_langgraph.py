"""`import_langgraph`: store the items of LangGraph's PostgresStore."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import CommandError, CommandParser

from memories.management.importers import ImportCommand, Line, has_expired, langgraph_line

# Whatever columns the version of LangGraph has: those of expiry came later.
ITEMS = "SELECT to_jsonb(item) FROM store AS item ORDER BY created_at, prefix, key"


class Command(ImportCommand):
    help = (
        "Store the items of LangGraph's PostgresStore (its table `store`) as SemantixStore keeps them. It finds them "
        "again by namespace and key, so a store can be imported again; vectors are made here."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("database", help="where the table is: postgresql://user@host/name")
        parser.add_argument("--user-id", required=True, help="the user of all items")
        parser.add_argument("--project-id", required=True, help="the project of all items")

    def handle(self, *_args: object, database: str, **options: Any) -> None:
        """Exit code 1 when there is a bad line."""
        tenant = {name: options[name] for name in ("user_id", "project_id")}
        bad_lines = Path(options["bad_lines"] or "langgraph.bad.jsonl")
        try:
            self.load(_lines(database, tenant), bad_lines=bad_lines, as_json=options["json"])
        except psycopg.errors.UndefinedTable as error:
            raise CommandError(
                "This database has no table `store` in its search path. A schema is named so: "
                "postgresql://host/name?options=-csearch_path%3Dschema"
            ) from error
        except psycopg.Error as error:
            raise CommandError(f"LangGraph's database failed: {str(error).strip()}") from error


def _lines(database: str, tenant: dict[str, str]) -> Iterator[Line]:
    with psycopg.connect(database) as connection, connection.cursor("items") as cursor:
        for (row,) in cursor.execute(ITEMS):
            line = langgraph_line(row, tenant)
            if not has_expired(line):
                yield line
