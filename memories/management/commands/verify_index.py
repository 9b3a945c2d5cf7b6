"""`verify_index`: check whether Chroma holds what PostgreSQL holds."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from memories.erasure.verify import came_back
from memories.indexing.verify import Verifier, verify_next
from memories.management.index_command import IndexCommand
from memories.models import MemoryLog
from outbox.counting import counted
from outbox.management.command import WrongUse

MEANINGS = {
    "memories": "in PostgreSQL",
    "indexed": "in the index, equal",
    "pending": "different, but an event is on its way",
    "missing": "not in the index, and no event is coming",
    "stale": "in the index with other content",
    "orphaned": "documents in the index without a memory",
}


class Command(IndexCommand):
    help = (
        "Compare the search index with PostgreSQL row by row. The exit code is 0 only when they are equal. Changes "
        "that are still on their way make it 1, but are not a fault."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--sample",
            type=int,
            metavar="N",
            help="compare only the next N memories, from where the last sample ended",
        )
        parser.add_argument(
            "--vectors",
            action="store_true",
            help="compare the vectors too, which Chroma stores separately: slower, because each is read from "
            "both stores. A --sample always does",
        )
        parser.add_argument("--repair", action="store_true", help="publish events that repair faults")
        parser.add_argument(
            "--remove-unknown",
            action="store_true",
            help="publish events that remove collections this database has no record of. --repair does not: another "
            "installation that uses the same Chroma server may own them",
        )

    def handle(self, *_args: object, **options: Any) -> None:
        report = self._sample(options) if options["sample"] is not None else self._all(options)
        report["erased_back"] = came_back()
        self.answer(options, report, "\n".join(_lines(report)))
        if report["erased_back"]:
            raise CommandError(
                f"Memories are back that erasures removed: {', '.join(map(str, report['erased_back']))}. Was a backup "
                "restored? Request these erasures again: GET /erasures/{id} shows what each was about."
            )
        if count := len(report["failed"]):
            raise CommandError(
                f"{count} {'collection' if count == 1 else 'collections'} could not be compared; the log has the "
                "error. `manage.py rebuild_index --recreate` with its --user-id and --project-id replaces a collection."
            )
        if report["repairs"]:
            raise CommandError(f"{counted(report['repairs'], 'repair event')} published: verify again later.")
        if any(report[name] for name in ("missing", "stale", "orphaned")):
            raise CommandError("The index differs from PostgreSQL; --repair repairs it.")
        if report["unknown_collections"]:
            raise CommandError(
                "Chroma holds collections that this database has no record of. If no other installation owns them, "
                "--remove-unknown removes them."
            )
        if report["pending"]:
            raise CommandError(f"{counted(report['pending'], 'change')} still on the way; the rest is equal.")

    def _all(self, options: dict[str, Any]) -> dict[str, Any]:
        scope = self.scope(options)
        if options["remove_unknown"] and not scope.is_everything:
            raise WrongUse("--remove-unknown checks all of Chroma and takes no --user-id.")
        self.require_tenants(scope)
        total = scope.of(MemoryLog.objects.all()).count()
        # disable=None: show the bar on a terminal, but not in a file or a pipe.
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
            raise WrongUse("--sample goes through all tenants in turn and takes no --user-id.")
        if options["remove_unknown"]:
            raise WrongUse("--remove-unknown checks all of Chroma and takes no --sample.")
        if options["sample"] < 1:
            raise WrongUse("--sample needs a number of memories, at least 1.")
        return verify_next(options["sample"], repair=options["repair"])


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [f"{name:<10} {report[name]:>10}  {meaning}" for name, meaning in MEANINGS.items()]
    if report["wrong_metadata"]:
        lines.append(f"Of the stale, {report['wrong_metadata']} have the right version but other metadata.")
    if report["wrong_vector"]:
        lines.append(f"Of the stale, {report['wrong_vector']} have no vector or another one.")
    if report["asked"]:
        lines.append(
            f"Of {report['asked']} asked for by their own vector, the index did not find {report['not_found']}."
        )
    if report["wrong_tenant"]:
        lines.append(f"Of the orphaned, {report['wrong_tenant']} name another tenant.")
    lines += [f"back after erasure: {id}" for id in report["erased_back"]]
    lines += [f"could not be compared: {name}" for name in report["failed"]]
    lines += [f"unknown collection: {name}" for name in report["unknown_collections"]]
    return lines
