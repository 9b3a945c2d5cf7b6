"""Several clusters that are killed and started again, and how soon the events that they had in hand are delivered."""

import os
import signal
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Self

import psutil
from django.db import connection

from outbox.models import Event, Relay
from tests.support.clusters import Cluster, url_of_the_tests_database
from tests.support.waiting import wait_until

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings", "LOG_LEVEL": "WARNING"}
CLAIMED = """
SELECT clock_timestamp(), coalesce(array_agg(id), '{}') FROM outbox_event
WHERE status = 'claimed' AND relay = ANY(%s)
"""


class Member(Cluster):
    """A cluster that remembers its relays and its sentinel."""

    def __init__(self, output: Path, **environment: str) -> None:
        super().__init__(output, url_of_the_tests_database(), **SETTINGS | environment)
        self.relays: set[object] = set()
        self.sentinel: int | None = None

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def is_ready(self) -> bool:
        """Whether its relay works and its workers have started."""
        if not self.is_running:
            return False
        # It may be dying: without its main process or its sentinel there are no children.
        with suppress(psutil.NoSuchProcess, IndexError):
            self.sentinel = psutil.Process(self.process.pid).children()[0].pid
            pids = [process.pid for process in self.processes()]
            found = set(Relay.objects.filter(pid__in=pids).values_list("id", flat=True))
            self.relays |= found
            return bool(found) and "ready for work at" in self.output
        return False

    def kinds(self) -> dict[str, list[psutil.Process]]:
        """Its processes by what they do."""
        main = psutil.Process(self.process.pid)
        monitors = set(self.pids("monitoring at"))
        relays = set(Relay.objects.filter(id__in=self.relays).values_list("pid", flat=True))
        kinds: dict[str, list[psutil.Process]] = {"main": [main]}
        for child in main.children(recursive=True):
            kind = "worker"
            if child.ppid() == main.pid:
                kind = "sentinel"
            elif child.pid in relays:
                kind = "relay"
            elif child.pid in monitors:
                kind = "monitor"
            kinds.setdefault(kind, []).append(child)
        return kinds

    def kill_a(self, kind: str, chance: Random) -> None:
        """Kill one of its processes of this kind, or all processes together for "cluster"."""
        if kind == "cluster":
            self.kill()
        else:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                if found := self.kinds().get(kind):
                    os.kill(chance.choice(found).pid, signal.SIGKILL)


class Fleet:
    """Runs inside the `with`. `tend()` starts again what has ended, as a service manager does."""

    def __init__(self, folder: Path, size: int, **environment: str) -> None:
        self.folder, self.size, self.environment = folder, size, environment
        self.members: list[Member] = []
        self.started = 0

    def __enter__(self) -> Self:
        self.tend()
        self.wait_until_ready()
        return self

    def __exit__(self, *_error: object) -> None:
        for member in self.members:
            with suppress(ProcessLookupError):
                member.thaw()
            member.kill()

    def tend(self) -> None:
        for member in [member for member in self.members if not member.is_running]:
            member.kill()
            self.members.remove(member)
        while len(self.members) < self.size:
            self.started += 1
            self.members.append(Member(self.folder / f"member-{self.started}.log", **self.environment))

    def ready(self) -> list[Member]:
        return [member for member in self.members if member.is_ready()]

    def wait_until_ready(self) -> None:
        def all_ready() -> bool:
            self.tend()
            return len(self.ready()) == self.size

        wait_until(all_ready, seconds=120)

    def member_of(self, sentinel: int) -> Member | None:
        """The member whose relay and workers have this parent."""
        return next((member for member in self.members if member.sentinel == sentinel), None)


class Hits:
    """The last kill that each event saw while it was claimed: its moment and what was killed."""

    def __init__(self) -> None:
        self.last: dict[int, tuple[datetime, str]] = {}

    def note(self, member: Member, kind: str) -> None:
        """Call it at the kill: what the member's relays have claimed is hit."""
        with connection.cursor() as cursor:
            cursor.execute(CLAIMED, [list(member.relays)])
            at, ids = cursor.fetchone()
        self.last |= dict.fromkeys(ids, (at, kind))

    def are_delivered(self) -> bool:
        return not Event.objects.filter(id__in=self.last, delivered_at=None).exists()

    def waits(self) -> list[tuple[str, float, Event]]:
        """What was killed, the seconds from there to the delivery, and the event.

        The seconds are infinity where an event is not delivered.
        """
        events = Event.objects.in_bulk(list(self.last))
        return [
            (kind, _seconds(at, events[id].delivered_at), events[id]) for id, (at, kind) in self.last.items()
        ]


def _seconds(start: datetime, end: datetime | None) -> float:
    return (end - start) / timedelta(seconds=1) if end else float("inf")
