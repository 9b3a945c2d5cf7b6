"""The disk of the data folder: a full one is a common reason why PostgreSQL stores nothing, and no query says so."""

import shutil
from collections.abc import Iterator

from django.conf import settings

from outbox.operations.problems import Problem, problem

MB = 1_000_000
# Free bytes below which the disk counts as full: one percent of it, at least and at most this.
SMALLEST, LARGEST = 50 * MB, 1_000 * MB


@problem
def full_disk() -> Iterator[Problem]:
    """What the overview and the health check say of it. Nothing where the database is elsewhere."""
    if "DATABASE_URL" in settings.GIVEN and not settings.SERVICES_ENV.exists():
        return
    try:
        usage = shutil.disk_usage(settings.DATA_DIR)
    except OSError:
        return
    if usage.free < min(LARGEST, max(SMALLEST, usage.total // 100)):
        yield Problem(
            kind="disk",
            what=f"The disk of {settings.DATA_DIR} is full ({usage.free / MB:,.0f} MB of {usage.total / MB:,.0f} MB "
            "are free)",
            public="The disk of the data folder is full",
            holds_up="PostgreSQL may refuse memories: such requests are answered with 503 and store nothing.",
            by_itself="Free some space. Nothing else is needed: what was stored goes on by itself.",
        )
