"""Circuits in the admin: a person holds a dependency before a maintenance, tries it, or releases it."""

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
from outbox.queue import circuits, probes
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
    assert "test.baked</a> 0</div>" in page
    assert not any(circuits.is_open(dependency) for dependency in ("chroma", "embedder", "oven"))


def test_holding_a_dependency_that_was_never_away_makes_its_events_wait(olga: Client) -> None:
    olga.get(LIST)
    publish("test.baked")
    noted = publish(NOTED)

    asked = act(olga, "hold", "oven")
    assert "1 dependency</strong> will not be called" in asked
    assert not circuits.is_open("oven")

    told = act(olga, "hold", "oven", confirmed="yes", reason="it is cleaned")
    assert "1 dependency held for an hour: it is cleaned." in told
    assert Circuit.objects.get(dependency="oven").hold_reason == "by olga: it is cleaned"
    assert "by olga: it is cleaned" in olga.get(LIST).content.decode()
    assert ids(claim_all("test.baked", NOTED)) == [noted.id]
    assert probes.acquire_probes() == []


def test_holding_asks_for_a_reason(olga: Client) -> None:
    olga.get(LIST)

    assert "Write a reason" in act(olga, "hold", "oven", confirmed="yes", reason=" ")
    assert not circuits.is_open("oven")


def test_releasing_an_open_circuit_lets_its_events_go_on(olga: Client) -> None:
    baked = publish("test.baked")
    circuits.open_circuit(Unavailable("oven", "it is cold"))

    assert "1 dependency</strong> will be called again at once" in act(olga, "release", "oven")
    assert circuits.is_open("oven")

    assert "1 dependency released." in act(olga, "release", "oven", confirmed="yes")
    assert ids(claim_all("test.baked")) == [baked.id]


def test_trying_now_ends_the_pause_and_the_next_cluster_tries_the_dependency(olga: Client) -> None:
    circuits.open_circuit(Unavailable("oven", "it is cold", retry_after=600))
    assert probes.acquire_probes() == []

    assert "1 dependency will be tried at once." in act(olga, "try_now", "oven", confirmed="yes")

    assert circuits.is_open("oven")
    assert [probe.dependency for probe in probes.acquire_probes()] == ["oven"]


def test_the_page_of_a_circuit_offers_what_can_be_done(olga: Client) -> None:
    olga.get(LIST)
    assert buttons(olga) == ["hold"]

    circuits.open_circuit(Unavailable("oven", "it is cold"))
    assert buttons(olga) == ["try_now", "release", "hold"]

    act(olga, "hold", "oven", confirmed="yes", reason="it is cleaned")
    assert buttons(olga) == ["release", "hold"]
    assert "by olga: it is cleaned; it is cold" in olga.get(f"{LIST}oven/change/").content.decode()


def buttons(client: Client) -> list[str]:
    page = client.get(f"{LIST}oven/change/").content.decode()
    return re.findall(rf'name="action" value="(\w+)" formaction="{LIST}"', page)


def test_a_closed_circuit_is_not_released(olga: Client) -> None:
    olga.get(LIST)

    assert "0 dependencies</strong> will be called again" in act(olga, "release", "oven")


def test_the_log_says_who_did_what(olga: Client) -> None:
    olga.get(LIST)
    act(olga, "hold", "oven", confirmed="yes", reason="it is cleaned")
    act(olga, "release", "oven", confirmed="yes")

    entries = LogEntry.objects.filter(object_id="oven").order_by("id")
    assert [entry.change_message for entry in entries] == [
        "1 dependency held for an hour: it is cleaned",
        "1 dependency released",
    ]
    assert {entry.user.get_username() for entry in entries} == {"olga"}
    assert "it is cleaned" in olga.get(f"{LIST}oven/history/").content.decode()


def test_a_viewer_neither_holds_nor_releases() -> None:
    viewer = User.objects.create_user("victor", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_circuit"))
    client = Client()
    client.force_login(viewer)
    assert "oven" in client.get(LIST).content.decode()

    act(client, "hold", "oven", confirmed="yes", reason="for fun")
    assert not circuits.is_open("oven")
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    act(client, "release", "oven", confirmed="yes")
    assert circuits.is_open("oven")


def test_the_page_of_a_circuit_shows_its_past_outages(olga: Client) -> None:
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    assert not Outage.objects.exists()
    assert circuits.close_circuit("oven")
    assert not circuits.close_circuit("oven")

    outage = Outage.objects.get()
    assert (
        str(outage)
        == f"{outage.dependency} unavailable from {outage.opened_at:%H:%M:%S} to {outage.closed_at:%H:%M:%S}"
    )
    assert (outage.dependency, outage.failures, outage.reason) == ("oven", 1, "it is cold")
    assert outage.opened_at < outage.closed_at
    page = olga.get(f"{LIST}oven/change/").content.decode()
    assert re.search(rf"{outage.opened_at:%Y-%m-%d %H:%M:%SZ}, for \d+ s, 1 try failed: it is cold", page)


def test_outages_are_kept_as_long_as_events() -> None:
    for days in (2, 40):
        then = timezone.now() - timedelta(days=days)
        Outage.objects.create(dependency="oven", opened_at=then, closed_at=then, failures=days, reason="cold")

    prune.prune(days=30)

    assert [outage.failures for outage in Outage.objects.all()] == [2]
