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
from outbox.counting import counted


class Command(IndexCommand):
    help = (
        "Rebuild the search index from PostgreSQL: all of it, a user's, or a project's. Stored embeddings are "
        "used; only memories without an embedding of the current model are embedded. Memories may be written and "
        "searched meanwhile. A stopped rebuild continues where it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--recreate",
            action="store_true",
            help="fill new collections, for a lost or damaged index; the old ones answer until these are complete",
        )
        parser.add_argument(
            "--restart",
            action="store_true",
            help="start at the first memory, even if a stopped rebuild could continue",
        )

    def handle(self, *_args: object, **options: Any) -> None:
        scope = self.scope(options)
        self.require_tenants(scope)
        started = time.monotonic()
        try:
            with rebuild.exclusive():
                filled = self._to_fill(scope, options)
                progress = self._fill(filled)
        except rebuild.RebuildRunning as error:
            raise CommandError(str(error)) from error
        seconds = time.monotonic() - started
        answer = {
            "tenants": len(filled),
            "memories": progress.memories,
            "embedded": progress.embedded,
            "removed": progress.removed,
            "refused": sorted(progress.refused),
            "seconds": round(seconds, 3),
            "memories_per_s": round(progress.memories / seconds, 1),
        }
        text = (
            f"{counted(progress.memories, 'memory', 'memories')} of {counted(len(filled), 'tenant')} indexed "
            f"in {seconds:.1f} s ({answer['memories_per_s']} a second); {progress.embedded} embedded, "
            f"{counted(progress.removed, 'orphaned document')} removed."
        )
        for reason in progress.refused.values():
            self.stderr.write(reason)
        self.answer(options, answer, text)
        if progress.refused:
            count = len(progress.refused)
            raise CommandError(
                f"{count} {'memory was' if count == 1 else 'memories were'} refused and not indexed. All others are "
                "in the index. Change or delete a refused memory, and it is indexed or forgotten by its own event."
            )

    def _to_fill(self, scope: Scope, options: dict[str, Any]) -> list[Generation]:
        recreate = options["recreate"]
        unfinished = [] if options["restart"] else rebuild.unfinished(scope, recreate=recreate)
        if unfinished:
            unfinished += self.retry_while_unavailable(lambda: rebuild.restart_lost(scope))
            self.stderr.write(
                f"Continuing a stopped rebuild: {counted(len(unfinished), 'collection')} (--restart starts over)."
            )
            return unfinished
        return rebuild.start(scope, recreate=recreate)

    def _fill(self, filled: list[Generation]) -> FillProgress:
        # disable=None: show the bar on a terminal, but not in a file or a pipe.
        with tqdm(total=rebuild.count_remaining(filled), unit=" memories", disable=None) as bar:
            progress = FillProgress(advance=bar.update)
            self.retry_while_unavailable(lambda: rebuild.run(filled, progress))
        return progress
