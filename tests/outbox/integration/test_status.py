"""outbox_status and its statistics."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from outbox.cluster import heartbeat
from outbox.exceptions import Unavailable
from outbox.models import Failure, Relay, Status
from outbox.operations import statistics
from outbox.operations.statistics import Count, Latency
from outbox.queue import circuits
from tests.support.events import answer, run, stored

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def test_the_keys_that_tools_build_on() -> None:
    assert answer("outbox_status") == {
        "pending": 0,
        "retrying": 0,
        "claimed": 0,
        "delivered": 0,
        "delivered_is_estimated": False,
        "dead": 0,
        "discarded": 0,
        "oldest_pending_seconds": None,
        "latency_ms": {"p50": None, "p95": None, "p99": None},
        "delivered_per_minute": 0,
        "failed_attempts_per_minute": 0,
        "circuits": [],
        "paused_types": [],
        "relays": [],
        "by_type": {},
        "problems": [
            (
                "No cluster runs. New events are stored and wait. "
                "Nothing is delivered until a cluster runs: start one with manage.py qcluster."
            )
        ],
        "progress": {},
    }


def test_every_status_is_counted_exactly_and_by_type() -> None:
    for status in Status:
        stored("order.placed", status)
    stored("order.placed", Status.DEAD)
    stored("order.placed", attempts=2)
    stored("order.shipped")

    found = answer("outbox_status")

    totals = {
        name: found[name] for name in ("pending", "retrying", "claimed", "delivered", "dead", "discarded")
    }
    assert totals == {"pending": 3, "retrying": 1, "claimed": 1, "delivered": 1, "dead": 2, "discarded": 1}
    placed = found["by_type"]["order.placed"]
    assert {name: placed[name] for name in ("pending", "retrying", "claimed", "dead", "discarded")} == {
        "pending": 2,
        "retrying": 1,
        "claimed": 1,
        "dead": 2,
        "discarded": 1,
    }
    assert found["by_type"]["order.shipped"]["pending"] == 1


def test_parked_events_count_as_pending() -> None:
    stored("order.placed", age=30 * SECOND, parked_until=timezone.now() + 300 * SECOND)
    stored("order.placed")

    found = statistics.collect()

    assert found.by_type["order.placed"].pending == 2
    assert found.oldest_pending_seconds == pytest.approx(30, abs=20)


def test_the_oldest_event_is_the_one_that_is_due_longest() -> None:
    stored("order.placed", age=30 * SECOND)
    stored("order.shipped", age=90 * SECOND)

    found = statistics.collect()

    assert found.oldest_pending_seconds == pytest.approx(90, abs=20)
    assert found.by_type["order.placed"].oldest_pending_seconds == pytest.approx(30, abs=20)


def test_an_event_in_backoff_waits_since_it_was_created() -> None:
    soon = timezone.now() + 60 * SECOND
    stored("order.placed", age=90 * SECOND, attempts=3, available_at=soon)

    assert statistics.collect().oldest_pending_seconds == pytest.approx(90, abs=20)


def test_an_event_meant_for_later_does_not_wait_yet() -> None:
    stored("order.placed", age=90 * SECOND, available_at=timezone.now() + 60 * SECOND)

    found = statistics.collect()

    assert found.total("pending") == 1
    assert found.oldest_pending_seconds is None


def test_latency_is_from_due_to_delivered() -> None:
    now = timezone.now()
    for milliseconds in range(1, 101):
        stored(
            "order.placed",
            Status.DELIVERED,
            created_at=now - timedelta(milliseconds=milliseconds),
            available_at=now - timedelta(milliseconds=milliseconds),
            delivered_at=now,
        )

    assert statistics.latency() == Latency(p50=50.5, p95=95.05, p99=99.01)


def test_latency_of_an_event_meant_for_later_begins_when_it_was_due() -> None:
    now = timezone.now()
    stored(
        "order.placed",
        Status.DELIVERED,
        created_at=now - 3600 * SECOND,
        available_at=now - SECOND,
        delivered_at=now,
    )

    assert statistics.latency().p50 == 1000


def test_latency_is_that_of_the_newest_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "NEWEST", 1)
    now = timezone.now()
    for age in (1, 2):
        due = now - 2 * age * SECOND
        times = {"created_at": due, "available_at": due, "delivered_at": now - age * SECOND}
        stored("order.placed", Status.DELIVERED, **times)

    assert statistics.latency() == Latency(p50=1000, p95=1000, p99=1000)


def test_a_cluster_without_a_heartbeat_for_minutes_is_not_shown() -> None:
    heartbeat.beat(uuid4(), "host-1", 4242, "listen")
    Relay.objects.update(alive_at=timezone.now() - timedelta(minutes=6))

    assert statistics.relays() == []


def test_latency_of_a_retried_event_begins_when_it_was_created() -> None:
    now = timezone.now()
    stored(
        "order.placed",
        Status.DELIVERED,
        created_at=now - 9 * SECOND,
        available_at=now - SECOND,
        delivered_at=now,
        attempts=2,
    )

    assert statistics.latency().p50 == 9000


def test_recorded_and_old_events_do_not_count_as_deliveries_of_the_last_minute() -> None:
    stored("order.seen", Status.DELIVERED, attempts=0)
    stored("order.placed", Status.DELIVERED, age=timedelta(hours=2))

    found = statistics.collect()

    assert found.latency == Latency()
    assert found.total("delivered_per_minute") == 0
    assert found.delivered == Count(2)


def test_the_last_minute_is_counted_by_type() -> None:
    stored("order.placed", Status.DELIVERED)
    stored("order.placed", Status.DELIVERED, age=30 * SECOND)
    stored("order.placed", Status.DELIVERED, age=61 * SECOND)
    event = stored("order.shipped", attempts=1)
    Failure.objects.create(event=event, attempt=1, error="ValueError: no", worker="host:1")
    Failure.objects.create(
        event=event, attempt=1, error="old", worker="host:1", at=timezone.now() - 61 * SECOND
    )

    found = answer("outbox_status")

    assert found["delivered_per_minute"] == 2
    assert found["by_type"]["order.placed"]["delivered_per_minute"] == 2
    assert found["failed_attempts_per_minute"] == 1


def test_very_many_delivered_events_are_estimated_and_the_answer_says_so() -> None:
    for _ in range(3):
        stored("order.placed", Status.DELIVERED)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_event")

    assert statistics.delivered(exact_up_to=3) == Count(3)
    assert statistics.delivered(exact_up_to=2) == Count(3, estimated=True)


def test_open_circuits_and_running_clusters_are_shown() -> None:
    circuits.open_circuit(Unavailable("mailer", "connection refused"))
    circuits.open_circuit(Unavailable("printer", "no paper"))
    circuits.close_circuit("printer")
    heartbeat.beat(uuid4(), "host-1", 4242, "listen")

    found = answer("outbox_status")

    assert [circuit["dependency"] for circuit in found["circuits"]] == ["mailer"]
    assert found["circuits"][0]["reason"] == "connection refused"
    assert found["circuits"][0]["open_until"] > found["circuits"][0]["opened_at"]
    assert [(relay["host"], relay["pid"], relay["wakeup"]) for relay in found["relays"]] == [
        ("host-1", 4242, "listen")
    ]


def test_the_table_for_people() -> None:
    circuits.open_circuit(Unavailable("mailer", "connection refused"))
    heartbeat.beat(uuid4(), "host-1", 4242, "listen")
    stored("order.placed", age=90 * SECOND)
    now = timezone.now()
    stored(
        "order.shipped",
        Status.DELIVERED,
        created_at=now - SECOND,
        available_at=now - SECOND,
        delivered_at=now,
    )

    said = run("outbox_status").splitlines()
    lines = said[said.index("") + 1 :]

    assert said[0].startswith("mailer is away")
    assert lines[0].split() == [
        "type",
        "pending",
        "retrying",
        "claimed",
        "dead",
        "discarded",
        "delivered/min",
    ]
    assert lines[1].split() == ["order.placed", "1", "0", "0", "0", "0", "0"]
    assert lines[2].split() == ["order.shipped", "0", "0", "0", "0", "0", "1"]
    assert lines[3].split() == ["total", "1", "0", "0", "0", "0", "1"]
    text = "\n".join(lines[5:])
    assert "delivered and kept  1\n" in text
    assert "oldest waiting      9" in text
    assert "p50 1000.0 ms, p95 1000.0 ms, p99 1000.0 ms" in text
    assert "open circuit        mailer: connection refused" in text
    assert "cluster             host-1:4242, wakeup by listen, seen " in text


def test_an_empty_outbox_says_so() -> None:
    text = run("outbox_status")

    assert "oldest waiting      none" in text
    assert "p50 –" in text


def test_the_backlog_query_reads_no_delivered_row() -> None:
    """Each part of the backlog query reads an index that no delivered row is in. Which of them is the planner's
    choice; only the oldest event that is tried again is looked up by its id."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {statistics.BACKLOG}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'outbox_event'"
            " AND (indexdef NOT LIKE '%%WHERE%%' OR indexdef LIKE '%%delivered%%')"
        )
        with_delivered = {name for (name,) in cursor.fetchall()}

    read = re.findall(r"Index (?:Only )?Scan (?:Backward )?(?:on|using) (\w+)", plan)
    assert "Seq Scan" not in plan
    assert {"outbox_event_pkey", "outbox_event_delivered", "outbox_event_recorded"} <= with_delivered
    assert [name for name in read if name in with_delivered] == ["outbox_event_pkey"], plan
    assert "Index Cond: (id = " in plan
