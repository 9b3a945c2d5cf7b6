"""Progress of long jobs that events carry out step by step. The app that owns a job reports its progress.

@outbox.progress("index")
def index_progress() -> Progress | None: ...     # None if no such job runs
"""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """How far a job is. `description` says what the job does and what it counts."""

    done: int
    total: int
    description: str


Report = Callable[[], Progress | None]

_reports: dict[str, Report] = {}


def progress(name: str) -> Callable[[Report], Report]:
    """Show the progress that the decorated function returns in `outbox_status`, under this name."""

    def register(report: Report) -> Report:
        _reports[name] = report
        return report

    return register


def running_jobs() -> dict[str, Progress]:
    """The progress of the jobs that run now, by name."""
    reported = {name: report() for name, report in sorted(_reports.items())}
    return {name: found for name, found in reported.items() if found is not None}
