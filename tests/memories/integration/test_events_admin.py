"""Events in the admin: found by tenant, and shown with their memory."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client

import outbox
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory
from memories.tenants import Tenant
from outbox.admin import paging
from outbox.models import Event, Status
from tests.support.events import stored

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/outbox/event/"
ALICE, BOB = Tenant("alice", "web"), Tenant("bob", "web/shop")


@pytest.fixture
def olga() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    return client


def remember(tenant: Tenant) -> MemoryLog:
    return create_memory(
        NewMemory(**tenant._asdict(), task="Fix it", agent="coder", raw_data={"summary": "It was broken"})
    )


def event_of(row: MemoryLog) -> Event:
    return Event.objects.get(aggregatetype="memory_log", aggregateid=str(row.pk))


def listed(client: Client, **query: Any) -> list[int]:
    page = client.get(LIST, query).content.decode()
    return sorted({int(found) for found in re.findall(rf"{LIST}(\d+)/change/", page)})


def test_the_page_of_an_event_links_its_memory(olga: Client) -> None:
    row = remember(ALICE)

    page = olga.get(f"{LIST}{event_of(row).pk}/change/").content.decode()

    assert f"/admin/memories/memorylog/{row.pk}/change/" in page


def test_an_event_of_a_deleted_memory_says_so_and_one_without_a_memory_has_a_page(olga: Client) -> None:
    event = event_of(remember(ALICE))
    MemoryLog.objects.all().delete()
    with transaction.atomic():
        other = outbox.publish("test.noted", aggregate=("thing", "x"), payload={})

    assert ">deleted<" in re.sub(r"\s", "", olga.get(f"{LIST}{event.pk}/change/").content.decode())
    assert olga.get(f"{LIST}{other.pk}/change/").status_code == 200


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(f'{{"n": 1{"0" * 5_000}}}', id="an integer of 5,001 digits"),
        pytest.param(f"{'[' * 900}{']' * 900}", id="900 lists in each other"),
        pytest.param(f"{'[' * 3_000}{']' * 3_000}", id="3,000 lists in each other"),
    ],
)
def test_an_event_that_cannot_be_read_is_listed_and_has_a_page(olga: Client, payload: str) -> None:
    """A publisher that inserts rows by SQL may store it. A person must be able to discard it."""
    event, other = event_of(remember(ALICE)), event_of(remember(ALICE))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_event SET status = 'dead', payload = %s::jsonb WHERE id = %s", [payload, event.pk]
        )

    assert listed(olga) == [event.pk, other.pk]
    assert olga.get(f"{LIST}{event.pk}/change/").status_code == 200
    assert olga.get("/admin/").status_code == 200


def test_a_filter_shows_the_events_of_one_tenant(olga: Client) -> None:
    of_alice, of_bob = event_of(remember(ALICE)), event_of(remember(BOB))

    assert listed(olga, tenant="alice/web") == [of_alice.pk]
    assert listed(olga, tenant="bob/web/shop") == [of_bob.pk]
    assert listed(olga, tenant="bob/web") == []
    assert listed(olga, tenant="nobody") == []


def test_the_search_finds_a_tenant(olga: Client) -> None:
    of_alice, _ = event_of(remember(ALICE)), remember(BOB)

    assert listed(olga, q="alice/web") == [of_alice.pk]
    assert listed(olga, q="alice/shop") == []


def test_the_search_finds_an_id_an_aggregate_and_words_of_an_error(olga: Client) -> None:
    ok = stored("test.noted", Status.DELIVERED, aggregateid="order-9", last_error="the oven was cold")
    failed = stored("test.noted", Status.DEAD, last_error="the oven was cold")

    assert listed(olga, q=str(ok.pk)) == [ok.pk]
    assert listed(olga, q="order-9") == [ok.pk]
    assert listed(olga, q=" OVEN ") == [failed.pk]
    assert listed(olga, q="9" * 30) == []


def test_filters_by_age_and_by_error(olga: Client) -> None:
    new = stored("test.noted")
    old = stored("test.noted", Status.DEAD, age=timedelta(days=3), last_error="the oven was cold")

    assert listed(olga, published="day") == [new.pk]
    assert listed(olga, published="week") == [new.pk, old.pk]
    assert listed(olga, published="older") == [old.pk]
    assert listed(olga, error="yes") == [old.pk]
    assert listed(olga, error="no") == [new.pk]


def test_the_history_of_an_event_ends_with_its_delivery(olga: Client) -> None:
    delivered, waiting = stored("test.noted", Status.DELIVERED, attempts=3), stored("test.noted")

    assert "delivered, attempt 3" in olga.get(f"{LIST}{delivered.pk}/change/").content.decode()
    assert "delivered, attempt" not in olga.get(f"{LIST}{waiting.pk}/change/").content.decode()


def test_the_filter_offers_the_tenants_of_dead_letters(olga: Client) -> None:
    dead, _ = event_of(remember(ALICE)), remember(BOB)
    Event.objects.filter(pk=dead.pk).update(status=Status.DEAD)

    page = olga.get(LIST).content.decode()

    assert "tenant=alice%2Fweb" in page
    assert "tenant=bob" not in page


def dead() -> Event:
    event = event_of(remember(ALICE))
    Event.objects.filter(pk=event.pk).update(status=Status.DEAD, attempts=8, last_error="TypeError: no")
    return event


def press(client: Client, action: str, event: Event, **more: str) -> Any:
    """Press a button of the event's page. It sends the page's form to the list."""
    form = {"action": action, "_selected_action": str(event.pk), "from_its_page": "yes", **more}
    return client.post(LIST, form, follow=True)


def buttons(client: Client, event: Event) -> list[str]:
    page = client.get(f"{LIST}{event.pk}/change/").content.decode()
    return re.findall(rf'name="action" value="(\w+)" formaction="{LIST}"', page)


def test_the_page_of_an_event_offers_the_possible_actions(olga: Client) -> None:
    event = dead()
    assert buttons(olga, event) == ["retry", "discard"]
    Event.objects.filter(pk=event.pk).update(status=Status.CLAIMED)
    assert buttons(olga, event) == []


def test_a_button_asks_first_then_acts_and_returns_to_the_page(olga: Client) -> None:
    event = dead()

    asked = press(olga, "retry", event).content.decode()
    assert "1 event</strong> will wait for delivery again" in asked
    assert f'<a href="{LIST}{event.pk}/change/"' in asked
    assert 'name="from_its_page"' in asked
    event.refresh_from_db()
    assert event.status == Status.DEAD

    done = press(olga, "retry", event, confirmed="yes")
    assert done.redirect_chain[-1][0] == f"{LIST}{event.pk}/change/"
    assert "1 event retried." in done.content.decode()
    assert event.interventions.get().by == "olga"
    assert LogEntry.objects.get().object_id == str(event.pk)


def test_a_viewer_has_no_buttons() -> None:
    victor = Client()
    viewer = User.objects.create_user("victor", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_event"))
    victor.force_login(viewer)
    event = dead()

    assert buttons(victor, event) == []
    press(victor, "retry", event, confirmed="yes")
    event.refresh_from_db()
    assert event.status == Status.DEAD


def searched(count: int) -> list[int]:
    for _ in range(count):
        outbox.record("vector.searched", aggregate=("search", "alice/web"), payload={})
    return list(Event.objects.filter(type="vector.searched").order_by("id").values_list("id", flat=True))


def test_searches_are_left_out_of_the_list_until_somebody_asks_for_them(olga: Client) -> None:
    searches, event = searched(3), event_of(remember(ALICE)).pk

    assert listed(olga) == [event]
    assert listed(olga, type="every") == [*searches, event]
    assert listed(olga, type="vector.searched") == searches
    assert listed(olga, q=str(searches[0])) == [searches[0]]
    assert "all but vector.searched" in olga.get(LIST).content.decode()


def test_a_long_list_without_searches_is_not_counted_row_by_row(
    olga: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched(2)
    remember(ALICE)
    assert olga.get(LIST).context["cl"].paginator.count == 1

    monkeypatch.setattr(paging, "ESTIMATE", "SELECT 20000 WHERE %s::regclass IS NOT NULL")

    assert olga.get(LIST).context["cl"].paginator.count == 20_000
    assert olga.get(LIST, {"status__exact": "pending"}).context["cl"].paginator.count == 1
