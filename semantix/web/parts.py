"""The state of the parts that `manage.py up` runs, kept in a file for the web server and the admin."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True)
class Part:
    """A part that ends again and again, or does not start."""

    name: str
    # What happened last, as one phrase.
    trouble: str
    # Restarts in a row.
    restarts: int
    # When it is started again, in seconds since 1970; None while it runs.
    next_start: float | None

    @property
    def status(self) -> str:
        """How often it was restarted and what happens next, without the reason, which may name paths."""
        times = f"{self.name} was restarted {self.restarts} time{'' if self.restarts == 1 else 's'} in a row"
        if self.next_start is None:
            return f"{times} and runs now"
        seconds = max(0.0, self.next_start - time.time())
        again = f"starts again in {seconds:.0f} s" if seconds >= 1 else "starts again now"
        return f"{times}, and {again}" if self.restarts else f"{self.name} {again}"


def to_json(parts: Sequence[Part]) -> str:
    return json.dumps([asdict(part) for part in parts])


def failing() -> list[Part]:
    """The failing parts of the `up` that started this process; none where no `up` runs."""
    try:
        return [Part(**part) for part in json.loads(Path(settings.PARTS_FILE).read_text())]
    except (OSError, ValueError, TypeError):
        return []
