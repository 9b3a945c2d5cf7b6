"""`verify_index`: whether Chroma holds what PostgreSQL holds."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from memories.indexing.verify import Verifier, verify_next
from memories.management.index_command import IndexCommand
from memories.models import MemoryLog
from outbox.management.command import WrongUse

MEANINGS = {
    "memories": "in PostgreSQL",
    "indexed": "in the index as they are",
    "pending": "on their way: an event will see to it",
    "missing": "not in the index",
    "stale": "in the index as they were",
    "orphaned": "documents in the index without a memory",
}


class Command(IndexCommand):
    help = (
        "Compare the search index with PostgreSQL row by row. The exit code is 0 only when they are equal; what "
        "is still on its way makes it 1, too, but is no fault."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--sample",
            type=int,
            metavar="N",
            help="only the next N memories, going on where the last sample ended",
        )
        parser.add_argument(
            "--vectors",
            action="store_true",
            help="the vectors, too, which Chroma keeps apart from the rest: slower, for each is read from "
            "both. A --sample always has them",
        )
        parser.add_argument("--repair", action="store_true", help="publish events that mend what is wrong")
        parser.add_argument(
            "--remove-unknown",
            action="store_true",
            help="publish events that remove the collections this database has no record of. --repair leaves them: "
            "where another installation uses the same Chroma server, they are its index",
        )

    def handle(self, *_args: object, **options: Any) -> None:
        report = self._sample(options) if options["sample"] is not None else self._all(options)
        self.answer(options, report, "\n".join(_lines(report)))
        if report["repairs"]:
            raise CommandError(f"{report['repairs']} events were published to mend it: verify again later.")
        if any(report[name] for name in ("missing", "stale", "orphaned")):
            raise CommandError("The index differs from PostgreSQL; --repair has it mended.")
        if report["unknown_collections"]:
            raise CommandError(
                "Chroma holds collections that this database has no record of. If they are no other "
                "installation's, --remove-unknown has them removed."
            )
        if report["pending"]:
            raise CommandError(
                f"{report['pending']} are still on their way; nothing is wrong with the others."
            )

    def _all(self, options: dict[str, Any]) -> dict[str, Any]:
        scope = self.scope(options)
        if options["remove_unknown"] and not scope.is_everything:
            raise WrongUse("--remove-unknown looks through all of Chroma: it takes no --user-id.")
        self.require_somebody(scope)
        total = scope.of(MemoryLog.objects.all()).count()
        # disable=None: a bar for a person at a terminal, none for a file or a pipe.
        with tqdm(total=total, unit=" memories", disable=None) as bar:
            verifier = Verifier(
                repair=options["repair"],
                vectors=options["vectors"],
                remove_unknown=options["remove_unknown"],
                advance=bar.update,
            )
            verifier.everything(scope)
        return verifier.report.as_json()

    def _sample(self, options: dict[str, Any]) -> dict[str, Any]:
        if not self.scope(options).is_everything:
            raise WrongUse("--sample goes through all tenants in turn: it takes no --user-id.")
        if options["remove_unknown"]:
            raise WrongUse("--remove-unknown looks through all of Chroma: it takes no --sample.")
        if options["sample"] < 1:
            raise WrongUse("--sample takes a number of memories, at least 1.")
        return verify_next(options["sample"], repair=options["repair"])


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [f"{name:<10} {report[name]:>10}  {meaning}" for name, meaning in MEANINGS.items()]
    if report["wrong_metadata"]:
        lines.append(f"Of the stale, {report['wrong_metadata']} have the right version, but other metadata.")
    if report["wrong_vector"]:
        lines.append(f"Of the stale, {report['wrong_vector']} have no vector, or another.")
    if report["wrong_tenant"]:
        lines.append(f"Of the orphaned, {report['wrong_tenant']} name another tenant.")
    lines += [f"unknown collection: {name}" for name in report["unknown_collections"]]
    return lines
