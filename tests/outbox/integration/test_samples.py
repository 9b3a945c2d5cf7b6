"""Rows a minute: what a cluster delivered, and how many events waited."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from outbox.cluster import activity
from outbox.database.connection import own_connection
from outbox.models import Activity, Relay, Waiting
from outbox.operations import samples
from outbox.operations.samples import Samples
from outbox.queue.claim import claim
from outbox.relay.tasks import run
from tests.support.published import NOTED, TOGETHER, publish, publish_all

pytestmark = pytest.mark.django_db(transaction=True)

RELAY = UUID(int=1)


@pytest.fixture
def session() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(**own_connection(), autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def _in_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    Relay.objects.create(id=RELAY, host="web-1", pid=7, wakeup="listen")
    monkeypatch.setattr(activity, "_shared", None)
    activity.share()


def deliver_all() -> None:
    claimed = claim([NOTED, TOGETHER], batch=100, retries=100)
    run(claimed.token, claimed.rows, number=None)


def test_deliveries_are_counted_in_the_row_of_their_minute(session: psycopg.Connection[Any]) -> None:
    found = Samples()
    publish_all(NOTED, range(3))
    publish(TOGETHER)
    deliver_all()
    found.write(session, RELAY)
    publish(NOTED)
    deliver_all()
    found.write(session, RELAY)
    found.write(session, RELAY)

    rows = Activity.objects.values_list("cluster", "type", "delivered")
    totals: dict[tuple[str, str], int] = {}
    for cluster, type, delivered in rows:  # two minutes, if one ended meanwhile
        totals[cluster, type] = totals.get((cluster, type), 0) + delivered
    assert totals == {("web-1:7", NOTED): 4, ("web-1:7", TOGETHER): 1}


def test_the_waiting_events_are_sampled_once_a_minute(session: psycopg.Connection[Any]) -> None:
    publish_all(NOTED, range(2))
    Samples().write(session, RELAY)
    first = Waiting.objects.order_by("minute")[0].minute
    publish(NOTED)
    Samples().write(session, RELAY)

    found = Waiting.objects.filter(minute=first)
    assert {row.type: row.count for row in found} == {"": 2, NOTED: 2}
    assert all((row.oldest_seconds or 0.0) >= 0 for row in found)


def test_a_minute_without_a_waiting_event_has_a_row_too(session: psycopg.Connection[Any]) -> None:
    Samples().write(session, RELAY)

    assert [(row.type, row.count, row.oldest_seconds) for row in Waiting.objects.all()] == [("", 0, 0.0)]


def test_a_sample_that_takes_too_long_is_left_out(
    session: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "WAITING", "SELECT pg_sleep(60)")
    monkeypatch.setattr(samples, "LONGEST_MS", 50)

    Samples().write(session, RELAY)

    assert not Waiting.objects.exists()
    assert session.execute("SELECT 1").fetchone() == (1,)


def test_rows_of_yesterday_are_deleted(session: psycopg.Connection[Any]) -> None:
    Activity.objects.create(minute="2026-01-01T00:00Z", cluster="here:1", type=NOTED, delivered=1)
    Waiting.objects.create(minute="2026-01-01T00:00Z", type="", count=1)

    Samples().write(session, RELAY)

    assert not Activity.objects.exists()
    assert Waiting.objects.count() == 1
