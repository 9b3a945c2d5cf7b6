"""`outbox_doctor`: compare what the outbox needs with what it finds, and say how to repair it."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox.doctor import Finding, diagnose
from outbox.management.command import OutboxCommand


class Command(OutboxCommand):
    help = (
        "Compare what the outbox needs with what it finds: migrations, triggers, indexes, autovacuum, settings, "
        "LISTEN, clocks, a running cluster, leases, handlers, circuits, retention. The exit code is 1 if something is "
        "wrong; each finding says how to repair it."
    )
    # The doctor reports the failed checks itself.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--fix", action="store_true", help="repair what can be repaired safely")

    def handle(self, *_args: object, **options: Any) -> None:
        findings = list(diagnose(fix=options["fix"]))
        wrong = [finding for finding in findings if not finding.ok]
        data = {"ok": not wrong, "findings": [finding.as_json() for finding in findings]}
        self.answer(options, data, "\n".join(line for finding in findings for line in _lines(finding)))
        if wrong:
            raise CommandError(f"{len(wrong)} of {len(findings)} examinations found something wrong.")


def _lines(finding: Finding) -> Iterator[str]:
    word = "WRONG" if not finding.ok else "fixed" if finding.fixed else "ok"
    yield f"{word:<6} {finding.name}: {finding.actual}"
    if not finding.ok:
        yield f"       expected: {finding.expected}"
        yield f"       repair:   {finding.repair}"
