"""The admin's first page: its figures and charts of the last half hour, compared with the rows of a test."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from memories import metrics
from outbox import Unavailable
from outbox.models import Activity, Event, Failure, Outage, Relay, Status, Waiting
from outbox.operations import history as history_module
from outbox.operations import problems, statistics
from outbox.operations.history import Minute, last_minutes, totals
from outbox.queue import circuits
from semantix.console.cards import Figures, cards
from semantix.console.charts import MOST_LINES, chart_by
from semantix.console.numbers import numbers
from semantix.observability.metrics.view import embedding_cache_use
from semantix.web import parts
from tests.support.published import publish

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def counted(start: datetime, delivered: int, *, cluster: str = "here:1", type: str = "test.noted") -> None:
    """As the heartbeat of a cluster counts what it delivered in a minute."""
    Activity.objects.create(minute=start, cluster=cluster, type=type, delivered=delivered)


def test_deliveries_are_counted_by_type_and_by_cluster(start: datetime) -> None:
    counted(start, 2)
    counted(start, 3, type="test.baked")
    counted(start, 4, cluster="there:2")
    counted(start + MINUTE, 1)

    first, second = minutes(start, 2)

    assert (first.delivered, second.delivered) == (9, 1)
    assert first.by_type == {"test.noted": 6, "test.baked": 3}
    assert first.by_cluster == {"here:1": 5, "there:2": 4}
    assert dict(totals([first, second], "by_cluster")) == {"here:1": 6, "there:2": 4}


def test_the_latency_of_a_minute_is_that_of_its_newest_deliveries(
    start: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(start + seconds(10), start + seconds(11))
    delivered(start + seconds(20), start + seconds(23))

    first, second = minutes(start, 2)
    assert first.latency == (2000, 2900, 2980)
    assert second.latency is None

    monkeypatch.setattr(history_module, "SAMPLE", 1)
    assert minutes(start, 1)[0].latency == (3000, 3000, 3000)


def test_what_waits_is_a_sample_of_each_minute(start: datetime) -> None:
    for type, count, oldest in (("", 5, 70.25), ("test.noted", 3, 1.0), ("test.baked", 2, 70.25)):
        Waiting.objects.create(minute=start, type=type, count=count, oldest_seconds=oldest)

    first, second = minutes(start, 2)

    assert first.waiting == {"test.noted": 3, "test.baked": 2}
    assert first.oldest_seconds == 70.2
    assert (second.waiting, second.oldest_seconds) == (None, None)


def test_a_failure_and_the_end_of_a_dead_letter_are_counted_in_their_minute(start: datetime) -> None:
    dead = event(start + seconds(40), status=Status.DEAD, attempts=8)
    failure = Failure.objects.create(event=dead, attempt=8, error="refused", worker="here:1")
    Failure.objects.filter(pk=failure.pk).update(at=start + MINUTE + seconds(30))

    assert [(minute.failed, minute.died) for minute in minutes(start, 3)] == [(0, 0), (1, 1), (0, 0)]


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
    waiting, sampled = statistics.backlog_or_sample()
    away = [circuit.dependency for circuit in statistics.open_circuits()]
    return cards(Figures(by_type=waiting, sampled=sampled, latency=statistics.latency(), away=away), history)


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


def test_the_page_names_a_part_that_ends_again_and_again(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    settings.PARTS_FILE = tmp_path / "parts.json"
    failing = parts.Part("Cluster", "Cluster ended by itself (killed by signal 9)", 3, None)
    settings.PARTS_FILE.write_text(parts.to_json([failing]))
    client.force_login(User.objects.create_superuser("olga"))

    page = client.get("/admin/").content.decode()

    assert "Cluster ended by itself (killed by signal 9)" in page
    assert "Cluster was restarted 3 times in a row and runs now" in page
    assert "All is well." not in page


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


def test_what_alarms_comes_first(start: datetime) -> None:
    assert [card.title for card in shown([])][:2] == ["Dead letters", "Dependencies"]
    event(start - timedelta(hours=1))

    assert shown([])[0].title == "Oldest waits"


def test_a_chart_has_few_lines_and_one_for_the_others(start: datetime) -> None:
    for number in range(MOST_LINES + 2):
        counted(start, 100 - number, type=f"test.type_{number}")
    found = minutes(start, 1)

    drawn = json.loads(chart_by(found, "by_type", totals(found, "by_type")))

    assert [line["label"] for line in drawn["datasets"]] == [
        *(f"test.type_{number}" for number in range(MOST_LINES)),
        "2 others",
    ]
    assert drawn["datasets"][-1]["data"] == [93 + 92]


def test_the_axis_of_latencies_is_logarithmic(start: datetime) -> None:
    delivered(start, start + seconds(1))

    drawn = {card.title: json.loads(card.chart) for card in shown(minutes(start, 2)) if card.chart}

    assert drawn["Publishing to delivery"]["logarithmic"]
    assert not drawn["Dead letters"]["logarithmic"]


def test_many_waiting_events_are_shown_from_the_last_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT date_trunc('minute', now())")
        [now] = cursor.fetchone()
    for type, count in (("", 5_000), ("test.noted", 5_000)):
        Waiting.objects.create(minute=now, type=type, count=count, oldest_seconds=70)
    publish()
    assert {card.title: card.value for card in shown([])}["Waiting"] == "1"

    monkeypatch.setattr(statistics, "COUNTED", 1_000)

    assert {card.title: card.value for card in shown([])}["Waiting"] == "about 5,000"
    waiting, sampled = statistics.backlog_or_sample()
    assert sampled
    assert "5,000 events wait" in str(problems.find(waiting)[0])


def test_equal_errors_are_one_group_that_can_be_retried(client: Client) -> None:
    for number in (1, 2):
        dead = publish("test.noted")
        Event.objects.filter(pk=dead.pk).update(
            status=Status.DEAD, attempts=8, last_error=f"refused: port {number}"
        )
        Failure.objects.create(event=dead, attempt=8, error="refused", worker="here:1")
    other = publish("test.noted")
    Event.objects.filter(pk=other.pk).update(status=Status.DEAD, attempts=8, last_error="no such file")
    client.force_login(User.objects.create_superuser("olga"))

    page = client.get("/admin/").content.decode()

    assert "<strong>2 events of test.noted</strong> are dead letters: first failed 2" in page
    [address] = re.findall(r'<form method="post" action="([^"]+)"', page)[:1]
    asked = {"action": "retry", "select_across": "1", "_selected_action": "0"}
    address = address.replace("&amp;", "&")
    assert "<strong>2 events</strong> will wait" in client.post(address, asked).content.decode()
    client.post(address, {**asked, "confirmed": "yes"})
    assert set(Event.objects.filter(status=Status.PENDING).values_list("last_error", flat=True)) == {
        "refused: port 1",
        "refused: port 2",
    }


def test_memories_tenants_and_searches_in_numbers() -> None:
    before = {number.name: number.value for number in numbers()}
    metrics.searches.labels("hybrid", "chroma").inc()

    after = {number.name: number.value for number in numbers()}

    assert list(after) == ["Memories", "Not in the index yet", "Tenants", "Searches"]
    assert int(after["Searches"].replace(",", "")) == int(before["Searches"].replace(",", "")) + 1
    assert after["Memories"] == "0"


def test_a_cluster_that_is_gone_is_named_and_one_that_stopped_cleanly_is_not(client: Client) -> None:
    for number, seen in ((1, timedelta(minutes=9)), (2, timedelta(0))):
        Relay.objects.create(
            id=f"00000000-0000-0000-0000-00000000000{number}",
            host=f"web-{number}",
            pid=number,
            wakeup="listen",
            alive_at=timezone.now() - seen,
            in_hand=[{"pid": 77, "task": "test.noted #5", "seconds": 3.2}],
        )
    Relay.objects.create(
        id="00000000-0000-0000-0000-000000000003", host="web-3", pid=3, wakeup="listen", alive_at=EPOCH
    )
    client.force_login(User.objects.create_superuser("olga"))

    page = client.get("/admin/").content.decode()

    assert '<strong>web-1:1</strong> is <strong class="overview-alarm">gone</strong>' in page
    assert "<strong>web-2:2</strong> runs since 2" in page
    assert "worker 77: test.noted #5, for 3.2 s" in page
    assert "web-3" not in page
