"""The cost of a claim as the table grows: with few and many delivered events, and few and many waiting ones.

Each size is a database of its own on one server. They are measured in turns, so that a busy moment of the machine
affects all of them, and the first claims of each turn do not count. Each claim takes 100 events of 100 aggregates, over
a connection like the relay's. They are settled, and 100 new events are published, before the next claim. With
`pending_0` only these 100 wait. With `one_aggregate` that many events of one aggregate wait as well, of which only the
first may run. The figures are medians; the 99th percentile is of all claims.
"""

import time
from argparse import Namespace
from collections.abc import Iterable
from statistics import median
from typing import Any, NamedTuple

import psycopg

from benchmarks.__main__ import Figures
from benchmarks.service import database, percentiles, say, set_up_django

BATCH = 100
TYPE = "embedding.generated"
TURNS, WARM_UP = 4, 20

INSERT = """
INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, status, attempts, delivered_at)
SELECT 'grown', {aggregate}, %(type)s, '{{"number": 1}}', %(status)s, %(attempts)s,
       CASE WHEN %(status)s = 'delivered' THEN now() - number * interval '1 second' END
FROM generate_series(1, %(count)s) AS number
"""


class Size(NamedTuple):
    """A table: its delivered and its waiting events. `jammed`: the waiting ones are all of one aggregate."""

    delivered: int
    pending: int
    jammed: bool = False

    @property
    def name(self) -> str:
        """The name of its figure, and of its database."""
        return "one_aggregate" if self.jammed else f"delivered_{self.delivered}_pending_{self.pending}"


def run(options: Namespace) -> Figures:
    delivered: tuple[int, ...] = (0, 100_000, 1_000_000)
    pending: tuple[int, ...] = (0, 10_000, 100_000)
    if options.quick:
        delivered, pending = (0, 10_000), (0, 1_000)
    sizes = [Size(kept, waiting) for kept in delivered for waiting in pending]
    jammed = Size(0, pending[-1], jammed=True)
    with database() as (folder, url):
        set_up_django(folder, url)
        spent = _measured([*sizes, jammed], url, claims=48 if options.quick else 400)
    return {"semantix": _figures(spent, sizes), "limit": {"worst_by_best_ratio": 1.5}}


def _figures(spent: dict[Size, list[float]], sizes: list[Size]) -> dict[str, float]:
    medians = {size: median(milliseconds) for size, milliseconds in spent.items()}
    figures = {f"{size.name}_p50_ms": round(value, 2) for size, value in medians.items()}
    figures["p99_ms"] = percentiles([each for size in sizes for each in spent[size]])["p99_ms"]
    compared = [medians[size] for size in sizes]
    return {**figures, "worst_by_best_ratio": round(max(compared) / min(compared), 2)}


def _measured(sizes: list[Size], url: str, *, claims: int) -> dict[Size, list[float]]:
    """The milliseconds of each claim, by size."""
    _create_databases(sizes, url)
    for size in sizes:
        _connect(size)
        _fill(size)
    spent: dict[Size, list[float]] = {size: [] for size in sizes}
    for turn in range(TURNS):
        for size in sizes:
            say(f"Turn {turn + 1} of {TURNS}: {size.name} ...")
            _connect(size)
            spent[size] += _measure(claims // TURNS)
    return spent


def _create_databases(sizes: Iterable[Size], url: str) -> None:
    """Copies of the migrated database, which nobody may be connected to meanwhile."""
    from django.db import connection

    template = connection.settings_dict["NAME"]
    connection.close()
    with psycopg.connect(url.replace(f"/{template}?", "/postgres?"), autocommit=True) as session:
        for size in sizes:
            session.execute(f"CREATE DATABASE {size.name} TEMPLATE {template}")


def _connect(size: Size) -> None:
    """Have this process use the size's database."""
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = size.name


def _fill(size: Size) -> None:
    """As the relay does once a second before it claims, this parks the events that cannot run."""
    from django.db import connection

    from outbox.queue.ordering import park
    from outbox.registry import handled_types

    say(f"Filling {size.name} ...")
    _insert("delivered", size.delivered)
    _insert("pending", size.pending, aggregate="'one'" if size.jammed else "gen_random_uuid()")
    if size.jammed:
        park(handled_types())
    # Autovacuum does it within a minute, which would be amid the claims of some sizes.
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) outbox_event")


def _measure(claims: int) -> list[float]:
    from outbox.relay.listener import Listener

    listener = Listener()
    listener.wait(0)
    spent = [_claim_and_settle(listener.session) for _ in range(WARM_UP + claims)]
    listener.close()
    return spent[WARM_UP:]


def _claim_and_settle(session: psycopg.Connection[Any] | None) -> float:
    """Returns the milliseconds of the claim."""
    from outbox.delivery import outcomes
    from outbox.queue.claim import claim
    from outbox.registry import handled_types

    _insert("pending", BATCH)
    started = time.perf_counter()
    claimed = claim(handled_types(), batch=BATCH, retries=2, session=session)
    spent = (time.perf_counter() - started) * 1000
    assert len(claimed.rows) == BATCH
    outcomes.delivered(claimed.token, [row.id for row in claimed.rows])
    return spent


def _insert(status: str, count: int, aggregate: str = "gen_random_uuid()") -> None:
    from django.db import connection

    attempts = int(status == "delivered")
    parameters: dict[str, str | int] = {"type": TYPE, "status": status, "attempts": attempts, "count": count}
    with connection.cursor() as cursor:
        cursor.execute(INSERT.format(aggregate=aggregate), parameters)
