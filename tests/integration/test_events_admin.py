"""Events in the admin: by their tenant, with the memory they are of."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

import outbox
from memories.models import MemoryLog, Tenant
from memories.services import NewMemory, create_memory
from outbox.models import Event, Status

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


def test_an_event_leads_to_its_memory(olga: Client) -> None:
    row = remember(ALICE)

    page = olga.get(f"{LIST}{event_of(row).pk}/change/").content.decode()

    assert f"/admin/memories/memorylog/{row.pk}/change/" in page


def test_a_memory_that_is_deleted_and_what_is_of_none_are_told(olga: Client) -> None:
    event = event_of(remember(ALICE))
    MemoryLog.objects.all().delete()
    with transaction.atomic():
        other = outbox.publish("test.noted", aggregate=("thing", "x"), payload={})

    assert ">deleted<" in re.sub(r"\s", "", olga.get(f"{LIST}{event.pk}/change/").content.decode())
    assert olga.get(f"{LIST}{other.pk}/change/").status_code == 200


def test_events_are_narrowed_to_a_tenant(olga: Client) -> None:
    of_alice, of_bob = event_of(remember(ALICE)), event_of(remember(BOB))

    assert listed(olga, tenant="alice/web") == [of_alice.pk]
    assert listed(olga, tenant="bob/web/shop") == [of_bob.pk]
    assert listed(olga, tenant="bob/web") == []
    assert listed(olga, tenant="nobody") == []


def test_a_tenant_is_searched_for(olga: Client) -> None:
    of_alice, _ = event_of(remember(ALICE)), remember(BOB)

    assert listed(olga, q="alice/web") == [of_alice.pk]
    assert listed(olga, q="alice/shop") == []


def test_the_tenants_of_dead_letters_are_offered(olga: Client) -> None:
    dead, _ = event_of(remember(ALICE)), remember(BOB)
    Event.objects.filter(pk=dead.pk).update(status=Status.DEAD)

    page = olga.get(LIST).content.decode()

    assert "tenant=alice%2Fweb" in page
    assert "tenant=bob" not in page
