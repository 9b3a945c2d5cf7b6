"""Circuits in the admin: a person opens one before a maintenance, and closes one that need not wait any longer."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from outbox import Unavailable
from outbox.models import Circuit, Outage
from outbox.operations import prune
from outbox.queue import circuits
from tests.support.published import NOTED, claim_all, ids, publish

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/outbox/circuit/"


@pytest.fixture
def olga() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    return client


def act(client: Client, action: str, *dependencies: str, **more: str) -> Any:
    chosen = {"action": action, "_selected_action": dependencies, **more}
    return client.post(LIST, chosen, follow=True).content.decode()


def test_every_dependency_that_a_handler_needs_is_listed(olga: Client) -> None:
    page = olga.get(LIST).content.decode()

    for dependency in ("chroma", "embedder", "oven"):
        assert f"{LIST}{dependency}/change/" in page
    assert "test.baked, test.toasted" in page
    assert not any(circuits.is_open(dependency) for dependency in ("chroma", "embedder", "oven"))


def test_one_that_was_never_away_is_opened_and_its_events_wait(olga: Client) -> None:
    olga.get(LIST)
    publish("test.baked")
    noted = publish(NOTED)

    asked = act(olga, "open", "oven")
    assert "1 dependency</strong> would be left alone for an hour" in asked
    assert not circuits.is_open("oven")

    told = act(olga, "open", "oven", confirmed="yes", reason="it is cleaned")
    assert "1 dependency left alone for an hour: it is cleaned." in told
    assert Circuit.objects.get(dependency="oven").reason == "opened by olga: it is cleaned"
    assert ids(claim_all("test.baked", NOTED)) == [noted.id]
    assert circuits.acquire_probes() == []


def test_opening_asks_why(olga: Client) -> None:
    olga.get(LIST)

    assert "A reason is needed" in act(olga, "open", "oven", confirmed="yes", reason=" ")
    assert not circuits.is_open("oven")


def test_one_that_is_open_is_closed_and_its_events_go_on(olga: Client) -> None:
    baked = publish("test.baked")
    circuits.open_circuit(Unavailable("oven", "it is cold"))

    assert "1 dependency</strong> would be tried again at once" in act(olga, "close", "oven")
    assert circuits.is_open("oven")

    assert "1 dependency tried again." in act(olga, "close", "oven", confirmed="yes")
    assert ids(claim_all("test.baked")) == [baked.id]


def test_what_is_closed_is_not_closed_again(olga: Client) -> None:
    olga.get(LIST)

    assert "0 dependencies</strong> would be tried again" in act(olga, "close", "oven")


def test_who_did_what_stands_in_the_log(olga: Client) -> None:
    olga.get(LIST)
    act(olga, "open", "oven", confirmed="yes", reason="it is cleaned")
    act(olga, "close", "oven", confirmed="yes")

    entries = LogEntry.objects.filter(object_id="oven").order_by("id")
    assert [entry.change_message for entry in entries] == [
        "1 dependency left alone for an hour: it is cleaned",
        "1 dependency tried again",
    ]
    assert {entry.user.get_username() for entry in entries} == {"olga"}
    assert "it is cleaned" in olga.get(f"{LIST}oven/history/").content.decode()


def test_who_may_only_look_neither_opens_nor_closes() -> None:
    viewer = User.objects.create_user("victor", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_circuit"))
    client = Client()
    client.force_login(viewer)
    assert "oven" in client.get(LIST).content.decode()

    act(client, "open", "oven", confirmed="yes", reason="for fun")
    assert not circuits.is_open("oven")
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    act(client, "close", "oven", confirmed="yes")
    assert circuits.is_open("oven")


def test_what_was_away_stays_on_record_and_on_its_page(olga: Client) -> None:
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    assert not Outage.objects.exists()
    assert circuits.close_circuit("oven")
    assert not circuits.close_circuit("oven")

    outage = Outage.objects.get()
    assert (
        str(outage)
        == f"{outage.dependency} away from {outage.opened_at:%H:%M:%S} to {outage.closed_at:%H:%M:%S}"
    )
    assert (outage.dependency, outage.failures, outage.reason) == ("oven", 1, "it is cold")
    assert outage.opened_at < outage.closed_at
    page = olga.get(f"{LIST}oven/change/").content.decode()
    assert re.search(rf"{outage.opened_at:%Y-%m-%d %H:%M:%S}, for 0:\d\d:\d\d: it is cold", page)


def test_the_record_is_kept_as_long_as_events_are() -> None:
    for days in (2, 40):
        then = timezone.now() - timedelta(days=days)
        Outage.objects.create(dependency="oven", opened_at=then, closed_at=then, failures=days, reason="cold")

    prune.prune(days=30)

    assert [outage.failures for outage in Outage.objects.all()] == [2]
