"""`rebuild_index`: make Chroma hold what PostgreSQL holds."""

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from memories.indexing import rebuild
from memories.indexing.fill import FillProgress
from memories.management.index_command import IndexCommand
from memories.models import Generation
from memories.tenants import Scope


class Command(IndexCommand):
    help = (
        "Rebuild the search index from PostgreSQL: all of it, a user's, or a project's. Stored embeddings are "
        "used; only what has none of the model in use is embedded. Memories may be written and searched "
        "meanwhile. A rebuild that was stopped goes on where it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--recreate",
            action="store_true",
            help="into new collections, for a lost or damaged index; the former answer until these are complete",
        )
        parser.add_argument(
            "--restart",
            action="store_true",
            help="from the first memory, also when a stopped rebuild could go on",
        )

    def handle(self, *_args: object, **options: Any) -> None:
        scope = self.scope(options)
        self.require_somebody(scope)
        started = time.monotonic()
        try:
            with rebuild.only_one():
                filled = self._to_fill(scope, options)
                tally = self._fill(filled)
        except rebuild.RebuildRunning as error:
            raise CommandError(str(error)) from error
        seconds = time.monotonic() - started
        answer = {
            "tenants": len(filled),
            "memories": tally.memories,
            "embedded": tally.embedded,
            "removed": tally.removed,
            "seconds": round(seconds, 3),
            "memories_per_s": round(tally.memories / seconds, 1),
        }
        text = (
            f"{tally.memories} memories of {len(filled)} tenants indexed in {seconds:.1f} s "
            f"({answer['memories_per_s']} a second); {tally.embedded} were embedded, "
            f"{tally.removed} documents without a memory removed."
        )
        self.answer(options, answer, text)

    def _to_fill(self, scope: Scope, options: dict[str, Any]) -> list[Generation]:
        recreate = options["recreate"]
        going_on = [] if options["restart"] else rebuild.unfinished(scope, recreate=recreate)
        if going_on:
            going_on += self.through_waits(lambda: rebuild.again(scope))
            self.stderr.write(
                f"Going on with what was not finished: {len(going_on)} collections (--restart begins anew)."
            )
            return going_on
        return rebuild.start(scope, recreate=recreate)

    def _fill(self, filled: list[Generation]) -> FillProgress:
        # disable=None: a bar for a person at a terminal, none for a file or a pipe.
        with tqdm(total=rebuild.left(filled), unit=" memories", disable=None) as bar:
            tally = FillProgress(advance=bar.update)
            self.through_waits(lambda: rebuild.run(filled, tally))
        return tally
