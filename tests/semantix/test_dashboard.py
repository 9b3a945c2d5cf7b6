"""The admin's first page: its figures and charts of the last half hour, compared with the rows of a test."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from memories import metrics
from outbox import Unavailable
from outbox.models import Failure, Outage, Relay, Status
from outbox.operations.history import Minute, last_minutes
from outbox.queue import circuits
from semantix.console.dashboard import cards
from semantix.observability.metrics.view import embedding_cache_use
from tests.support.published import publish

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def start() -> datetime:
    """A full minute, some minutes ago by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT date_trunc('minute', now()) - interval '10 minutes'")
        found: datetime = cursor.fetchone()[0]
        return found


def event(published: datetime, **fields: Any) -> Any:
    row = publish("test.noted")
    row.created_at = row.available_at = published
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    return row


def delivered(published: datetime, at: datetime, attempts: int = 1) -> Any:
    return event(published, status=Status.DELIVERED, attempts=attempts, delivered_at=at)


def minutes(start: datetime, count: int) -> list[Minute]:
    """`count` minutes from `start` on, whatever the time is now."""
    return [minute for minute in last_minutes() if start <= minute.start < start + count * MINUTE]


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_a_delivery_is_counted_and_timed_in_its_minute(start: datetime) -> None:
    delivered(start + seconds(10), start + seconds(11))
    delivered(start + seconds(20), start + seconds(23))

    first, second = minutes(start, 2)

    assert (first.delivered, second.delivered) == (2, 0)
    assert first.latency == (2000, 2900, 2980)
    assert second.latency is None


def test_the_age_of_the_oldest_event_is_that_of_each_minutes_end(start: datetime) -> None:
    delivered(start + seconds(30), start + 3 * MINUTE + seconds(15))
    delivered(start + MINUTE + seconds(50), start + 4 * MINUTE + seconds(5))

    assert [minute.oldest_seconds for minute in minutes(start, 5)] == [30, 90, 150, 130, 0]
    assert [minute.waiting for minute in minutes(start, 5)] == [1, 2, 2, 1, 0]


def test_an_event_that_still_waits_is_the_oldest_of_every_later_minute(start: datetime) -> None:
    event(start + seconds(45))
    delivered(start + seconds(50), start + 2 * MINUTE)

    assert [minute.oldest_seconds for minute in minutes(start, 3)] == [15, 75, 135]


def test_an_event_that_is_not_due_yet_does_not_wait(start: datetime) -> None:
    event(start, available_at=start + timedelta(days=1))

    assert {minute.oldest_seconds for minute in last_minutes()} == {0}


def test_a_dead_letter_waited_until_it_died(start: datetime) -> None:
    dead = event(start + seconds(40), status=Status.DEAD, attempts=8)
    failure = Failure.objects.create(event=dead, attempt=8, error="refused", worker="here:1")
    Failure.objects.filter(pk=failure.pk).update(at=start + MINUTE + seconds(30))

    found = minutes(start, 3)

    assert [minute.oldest_seconds for minute in found] == [20, 0, 0]
    assert [minute.waiting for minute in found] == [1, 0, 0]
    assert [(minute.failed, minute.died) for minute in found] == [(0, 0), (1, 1), (0, 0)]


def test_the_cache_card_shows_the_hits_and_misses_of_all_processes(settings: Settings) -> None:
    settings.EMBEDDING_BACKEND, settings.GOOGLE_API_KEY = "google", "a-key"
    hits, misses = embedding_cache_use()
    metrics.cache_hits.inc(9)
    metrics.cache_misses.inc(1)

    card = {card.title: card for card in shown([])}["Embedding cache"]

    assert card.note == f"{hits + 9:,} hits, {misses + 1:,} misses since the service started"
    assert card.value == f"{100 * (hits + 9) / (hits + misses + 10):.0f} %"


def test_the_cache_card_says_off_for_an_embedder_that_uses_none(settings: Settings) -> None:
    def note() -> str:
        return {card.title: card.note for card in shown([])}["Embedding cache"]

    assert note() == "this embedder is faster than looking up"
    settings.EMBEDDING_CACHE_ENABLED = False
    assert note() == "EMBEDDING_CACHE_ENABLED is false"


def shown(history: list[Minute]) -> list[Any]:
    from outbox.operations import statistics

    return cards(statistics.collect(), history)


def test_the_page_and_the_metrics_open_with_an_embedder_that_cannot_be_made(
    client: Client, settings: Settings
) -> None:
    settings.EMBEDDING_BACKEND = "no-such-backend"
    client.force_login(User.objects.create_superuser("olga"))

    assert client.get("/admin/").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_the_page_opens_with_empty_tables(client: Client) -> None:
    client.force_login(User.objects.create_superuser("olga"))

    page = client.get("/admin/").content.decode()

    assert "Oldest waits" in page
    assert "No cluster runs" in page


def test_each_minute_counts_the_dependencies_that_were_away(start: datetime) -> None:
    for name, opened, closed in (("oven", 70, 130), ("oven", 135, 140), ("sink", 90, 95)):
        Outage.objects.create(
            dependency=name,
            opened_at=start + seconds(opened),
            closed_at=start + seconds(closed),
            failures=1,
            reason="it is cold",
        )
    assert [minute.away for minute in minutes(start, 4)] == [0, 2, 1, 0]

    circuits.open_circuit(Unavailable("oven", "it is cold"))
    history = last_minutes()
    assert (history[0].away, history[-1].away) == (0, 1)
    card = {card.title: card for card in shown(history)}["Dependencies"]
    assert card.chart
    assert json.loads(card.chart)["datasets"][0]["data"][-1] == 1


def test_a_single_point_is_drawn_and_no_point_makes_no_chart(start: datetime) -> None:
    delivered(start, start + seconds(1))
    history = minutes(start - MINUTE, 3)
    by_title = {card.title: card for card in shown(history)}
    chart = by_title["Publishing to delivery"].chart
    assert chart
    assert json.loads(chart)["datasets"][0]["pointStyle"] == [False, "circle", False]

    empty = {card.title: card for card in shown(minutes(start - 3 * MINUTE, 2))}["Publishing to delivery"]
    assert (empty.chart, empty.drawn) == ("", True)


def test_the_page_begins_with_what_is_wrong_and_the_link_to_go_to(client: Client) -> None:
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    client.force_login(User.objects.create_superuser("olga"))

    page = client.get("/admin/").content.decode()

    assert page.index("oven is away (it is cold)") < page.index("Oldest waits")
    assert "/admin/outbox/circuit/oven/change/" in page


def test_all_is_well_where_nothing_is_wrong(client: Client) -> None:
    Relay.objects.create(id="00000000-0000-0000-0000-000000000001", host="here", pid=1, wakeup="listen")
    client.force_login(User.objects.create_superuser("olga"))

    assert "All is well." in client.get("/admin/").content.decode()


def test_staff_without_permissions_see_neither_figures_nor_reasons(client: Client) -> None:
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    client.force_login(User.objects.create_user("victor", is_staff=True))

    page = client.get("/admin/").content.decode()

    assert "it is cold" not in page
    assert "Oldest waits" not in page
    assert "may not view events" in page
