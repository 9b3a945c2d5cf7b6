"""`backfill_embeddings`: embed what has no embedding, or one of another model."""

from typing import Any

from tqdm import tqdm

from memories.indexing import backfill, migrate
from memories.indexing.fill import FillProgress
from memories.management.index_command import IndexCommand


class Command(IndexCommand):
    help = (
        "Embed the memories that have no embedding, or one of another model than the settings', and have them "
        "indexed. It can be stopped at any time: what is embedded is kept, and the next run takes the rest."
    )

    def handle(self, *_args: object, **options: Any) -> None:
        scope = self.scope(options)
        self.require_somebody(scope)
        migrate.migrate_models(scope)
        # disable=None: a bar for a person at a terminal, none for a file or a pipe.
        with tqdm(total=backfill.count(scope), unit=" memories", disable=None) as bar:
            tally = FillProgress(advance=bar.update)
            self.through_waits(lambda: backfill.run(scope, tally))
        left = backfill.count(scope)
        answer = {"embedded": tally.embedded, "left": left}
        self.answer(options, answer, f"{tally.embedded} memories embedded, {left} left without an embedding.")
