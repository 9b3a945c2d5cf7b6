"""`outbox_status`: the backlog, its age, latency and rates."""

from collections.abc import Iterable, Mapping
from typing import Any

from outbox.management.command import OutboxCommand
from outbox.operations import problems, statistics
from outbox.operations.progress import Progress, running_jobs
from outbox.operations.statistics import Statistics

# To count this many delivered events takes a quarter of a second. More are estimated, and the answer says so.
EXACT_UP_TO = 5_000_000
COLUMNS = ("pending", "retrying", "claimed", "dead", "discarded", "delivered_per_minute")


class Command(OutboxCommand):
    help = (
        "Show the outbox: events by status and type, the age of the oldest, latency, rates, open circuits and "
        "running clusters."
    )

    def handle(self, *_args: object, **options: Any) -> None:
        found = statistics.collect(exact_up_to=EXACT_UP_TO)
        jobs = running_jobs()
        wrong = [str(problem) for problem in problems.find()]
        above = [*wrong, ""] if wrong else []
        progress = {name: job._asdict() for name, job in jobs.items()}
        data = found.as_json() | {"problems": wrong, "progress": progress}
        self.answer(options, data, "\n".join([*above, *_lines(found), *_progress(jobs)]))


def _progress(jobs: Mapping[str, Progress]) -> list[str]:
    return [
        f"running             {name}: {job.description}, {job.done} of {job.total} "
        f"({100 * job.done // max(1, job.total)} %)"
        for name, job in jobs.items()
    ]


def _lines(found: Statistics) -> list[str]:
    oldest, latency = found.oldest_pending_seconds, found.latency
    return [
        *_table(found),
        "",
        f"delivered and kept  {'about ' * found.delivered.estimated}{found.delivered.value}",
        f"oldest waiting      {'none' if oldest is None else f'{oldest:.1f} s'}",
        f"latency             p50 {_ms(latency.p50)}, p95 {_ms(latency.p95)}, p99 {_ms(latency.p99)}",
        f"failed attempts     {found.failed_attempts_per_minute} in the last minute",
        *(
            f"open circuit        {circuit.dependency}: {circuit.reason or circuit.hold_reason}"
            for circuit in found.circuits
        ),
        *(f"paused              {type.name}: {type.hold_reason}" for type in found.paused_types),
        *(
            f"cluster             {relay.host}:{relay.pid}, wakeup by {relay.wakeup}, "
            f"seen {relay.seen_seconds_ago} s ago"
            for relay in found.relays
        ),
    ]


def _table(found: Statistics) -> list[str]:
    rows: list[tuple[str, Iterable[int]]] = [
        (type, [getattr(of_type, column) for column in COLUMNS])
        for type, of_type in sorted(found.by_type.items())
    ]
    rows.append(("total", [found.total(column) for column in COLUMNS]))
    titles = [column.replace("_per_minute", "/min") for column in COLUMNS]
    width = max(len(type) for type, _ in rows)
    return [
        "  ".join(["type".ljust(width), *titles]),
        *(
            "  ".join(
                [
                    type.ljust(width),
                    *(str(n).rjust(len(title)) for n, title in zip(numbers, titles, strict=True)),
                ]
            )
            for type, numbers in rows
        ),
    ]


def _ms(milliseconds: float | None) -> str:
    return "–" if milliseconds is None else f"{milliseconds:.1f} ms"
