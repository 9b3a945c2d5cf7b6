"""`/metrics` and the admin's pages with a million delivered events.

A million events were delivered in the last day, 5,000 wait, and 500 are dead with their failures. Each page is
requested over HTTP from the web server as it is shipped. `semantix, busy` is the worst case for pages that read the
last half hour: all million events were delivered in it. `limit` is a page that does nothing.
"""

import re
import time
from argparse import Namespace
from typing import Any

import httpx

from benchmarks.__main__ import Figures
from benchmarks.service import percentiles, say, stores, web

PAGES = {
    "metrics": "/metrics",
    "first_page": "/admin/",
    "event_list": "/admin/outbox/event/",
    "dead_letters": "/admin/outbox/event/?status__exact=dead",
    "one_type": "/admin/outbox/event/?type=memory_log.stored",
    "search": "/admin/outbox/event/?q=refused",
}
ROUNDS = 21

# Every third event is only recorded, like vector.stored; delivery took up to a second.
DELIVERED = """
INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, status, attempts, created_at, available_at,
                          delivered_at)
SELECT 'memory_log', n, (ARRAY['memory_log.stored', 'embedding.generated', 'vector.stored'])[n %% 3 + 1],
       jsonb_build_object('memory_id', n, 'user_id', 'ada', 'project_id', 'demo'), 'delivered', (n %% 3 < 2)::int,
       at, at, at + make_interval(secs => n %% 997 / 997.0)
FROM generate_series(1, %(count)s) n, LATERAL (SELECT now() - %(span)s::interval * n / %(count)s) AS when_ (at)
"""
OPEN = """
INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, status, attempts, last_error)
SELECT 'memory_log', 10000000 + n, (ARRAY['memory_log.stored', 'embedding.generated'])[n %% 2 + 1],
       '{"memory_id": 1}', CASE WHEN n %% 11 = 0 THEN 'dead' ELSE 'pending' END, (n %% 11 = 0)::int * 8,
       CASE WHEN n %% 11 = 0 THEN 'OSError: connection refused' ELSE '' END
FROM generate_series(1, 5500) n
"""
FAILURES = """
INSERT INTO outbox_failure (event_id, attempt, error, traceback, worker)
SELECT id, attempt, last_error, 'Traceback', 'worker:1'
FROM outbox_event, generate_series(1, 8) attempt WHERE status = 'dead'
"""


def run(options: Namespace) -> Figures:
    count = 50_000 if options.quick else 1_000_000
    figures: dict[str, dict[str, float]] = {}
    with stores(), web() as url, httpx.Client(base_url=url, timeout=60) as client:
        sign_in(client)
        for name, span in (("semantix", "1 day"), ("semantix, busy", "30 minutes")):
            say(f"{count} events of {span} ...")
            fill(count, span)
            figures[name] = {page: median_ms(client, path) for page, path in PAGES.items()}
        figures["limit"] = {"metrics": median_ms(client, "/health/live")}
    return {subject: {f"{page}_ms": spent for page, spent in row.items()} for subject, row in figures.items()}


def fill(count: int, span: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE outbox_event, outbox_failure, outbox_intervention")
        cursor.execute(DELIVERED, {"count": count, "span": span})
        cursor.execute(OPEN, {})
        cursor.execute(FAILURES)
        # As autovacuum does in time.
        cursor.execute("VACUUM ANALYZE outbox_event, outbox_failure")


def sign_in(client: httpx.Client) -> None:
    from django.contrib.auth.models import User

    User.objects.create_superuser("olga", password="only-for-measuring")
    page = client.get("/admin/login/").text
    [token] = re.findall('name="csrfmiddlewaretoken" value="(.+?)"', page)[:1]
    form = {"username": "olga", "password": "only-for-measuring", "csrfmiddlewaretoken": token}
    client.post("/admin/login/?next=/admin/", data=form, headers={"Referer": str(client.base_url)})


def median_ms(client: httpx.Client, path: str) -> float:
    spent: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer: Any = client.get(path)
        spent.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return percentiles(spent)["p50_ms"]
