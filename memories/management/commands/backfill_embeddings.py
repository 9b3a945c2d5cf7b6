"""`backfill_embeddings`: embed the memories without an embedding of the current model."""

from typing import Any

from django.core.management.base import CommandError
from tqdm import tqdm

from memories.indexing import backfill, migrate
from memories.indexing.fill import FillProgress
from memories.management.index_command import IndexCommand
from outbox.counting import counted


class Command(IndexCommand):
    help = (
        "Embed and index the memories that have no embedding, or one of another model than the settings name. "
        "It can be stopped at any time: finished work is kept, and the next run does the rest."
    )

    def handle(self, *_args: object, **options: Any) -> None:
        scope = self.scope(options)
        self.require_tenants(scope)
        migrate.migrate_models(scope)
        # disable=None: show the bar on a terminal, but not in a file or a pipe.
        with tqdm(total=backfill.count(scope), unit=" memories", disable=None) as bar:
            progress = FillProgress(advance=bar.update)
            self.retry_while_unavailable(lambda: backfill.run(scope, progress))
        left = backfill.count(scope)
        answer = {"embedded": progress.embedded, "left": left, "refused": sorted(progress.refused)}
        for reason in progress.refused.values():
            self.stderr.write(reason)
        self.answer(
            options,
            answer,
            f"{counted(progress.embedded, 'memory', 'memories')} embedded, {left} left without an embedding.",
        )
        if count := len(progress.refused):
            raise CommandError(
                f"{count} {'memory was' if count == 1 else 'memories were'} refused and not embedded. All others have "
                "an embedding. Change or delete a refused memory, and run the command again."
            )
