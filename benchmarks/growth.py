"""The cost of a claim as the table grows: with few and many delivered events, and few and many waiting ones.

Each claim takes 100 events of 100 aggregates, over a connection like the relay's. They are settled, and 100 new events
are published, before the next claim. With `pending_0` only these 100 wait. With `one_aggregate` that many events of one
aggregate wait as well, of which only the first may run. The figures are medians; the 99th percentile is of all claims.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from statistics import median
from typing import Any

import psycopg

from benchmarks.__main__ import Figures
from benchmarks.service import database, percentiles, say, set_up_django

BATCH = 100
TYPE = "embedding.generated"
WARM_UP = 20

INSERT = """
INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, status, attempts, delivered_at)
SELECT 'grown', {aggregate}, %(type)s, '{{"number": 1}}', %(status)s, %(attempts)s,
       CASE WHEN %(status)s = 'delivered' THEN now() - number * interval '1 second' END
FROM generate_series(1, %(count)s) AS number
"""


def run(options: Namespace) -> Figures:
    delivered: tuple[int, ...] = (0, 100_000, 1_000_000)
    pending: tuple[int, ...] = (0, 10_000, 100_000)
    if options.quick:
        delivered, pending = (0, 10_000), (0, 1_000)
    claims = 50 if options.quick else 400
    with database() as (folder, url):
        set_up_django(folder, url)
        spent = dict(_grown(delivered, pending, claims))
        jammed = _jammed(pending[-1], claims)
    medians = {name: median(milliseconds) for name, milliseconds in spent.items()}
    figures = {f"{name}_p50_ms": round(value, 2) for name, value in medians.items()}
    figures["one_aggregate_p50_ms"] = round(median(jammed), 2)
    figures["p99_ms"] = percentiles([each for measured in spent.values() for each in measured])["p99_ms"]
    figures["worst_by_best_ratio"] = round(max(medians.values()) / min(medians.values()), 2)
    return {"semantix": figures, "limit": {"worst_by_best_ratio": 1.5}}


def _grown(
    delivered: tuple[int, ...], pending: tuple[int, ...], claims: int
) -> Iterator[tuple[str, list[float]]]:
    for kept in delivered:
        for waiting in pending:
            _empty()
            _insert("delivered", kept)
            _insert("pending", waiting)
            say(f"{kept:,} delivered, {waiting:,} pending ...")
            yield f"delivered_{kept}_pending_{waiting}", _measure(claims)


def _jammed(count: int, claims: int) -> list[float]:
    """As the relay does once a second before it claims: park the events that cannot run."""
    from outbox.queue.ordering import park
    from outbox.registry import handled_types

    _empty()
    _insert("pending", count, aggregate="'one'")
    say(f"{count:,} pending of one aggregate ...")
    park(handled_types())
    return _measure(claims)


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


def _empty() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE outbox_event CASCADE")


def _insert(status: str, count: int, aggregate: str = "gen_random_uuid()") -> None:
    from django.db import connection

    attempts = int(status == "delivered")
    parameters: dict[str, str | int] = {"type": TYPE, "status": status, "attempts": attempts, "count": count}
    with connection.cursor() as cursor:
        cursor.execute(INSERT.format(aggregate=aggregate), parameters)
