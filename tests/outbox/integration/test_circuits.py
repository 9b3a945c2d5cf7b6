"""A dependency that is away is left alone for a growing, capped pause; one tries whether it is back."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from math import ceil

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from outbox.exceptions import Unavailable
from outbox.models import Circuit
from outbox.queue import circuits
from outbox.queue.claim import claim
from outbox.relay.listener import Listener
from tests.support.circuits import end_pause
from tests.support.published import NOTED, claim_all, ids, publish

pytestmark = pytest.mark.django_db(transaction=True)

COLD = Unavailable("oven", "it is cold")


@pytest.fixture(autouse=True)
def _pauses(settings: Settings) -> None:
    settings.OUTBOX_CIRCUIT_BASE_SECONDS, settings.OUTBOX_CIRCUIT_CAP_SECONDS = 10.0, 60.0


def pause() -> int:
    """Seconds until it is tried again, as Postgres has it; in tens, for some may have passed since."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM open_until - clock_timestamp()) FROM outbox_circuit")
        return ceil(cursor.fetchone()[0] / 10) * 10


def test_an_open_circuit_pauses_all_types_that_need_the_dependency() -> None:
    publish("test.baked")
    publish("test.toasted")
    noted = publish(NOTED)

    assert circuits.open_circuit(COLD) == ["test.baked", "test.toasted"]

    assert ids(claim_all("test.baked", "test.toasted", NOTED)) == [noted.id]
    circuit = Circuit.objects.get()
    assert (circuit.dependency, circuit.reason, circuit.failures) == ("oven", "it is cold", 1)
    assert str(circuit) == "oven (open)"


def test_workers_that_fail_together_open_it_once() -> None:
    for _ in range(5):
        circuits.open_circuit(COLD)

    assert Circuit.objects.get().failures == 1
    assert pause() == 10


def test_types_found_to_need_it_are_added() -> None:
    circuits.open_circuit(COLD)
    circuits.open_circuit(COLD, NOTED)

    assert sorted(Circuit.objects.get().types) == ["test.baked", NOTED, "test.toasted"]


def test_the_pause_doubles_with_each_probe_in_vain_up_to_the_cap() -> None:
    circuits.open_circuit(COLD)
    pauses = [pause()]
    for _ in range(4):
        end_pause()
        circuits.acquire_probes()
        circuits.open_circuit(COLD, probing=True)
        pauses.append(pause())

    assert pauses == [10, 20, 40, 60, 60]


def test_what_the_dependency_asks_for_is_honoured_above_the_cap_too() -> None:
    circuits.open_circuit(Unavailable("oven", "429", retry_after=300))
    assert pause() == 300

    circuits.open_circuit(Unavailable("oven", "429", retry_after=400))
    assert pause() == 400

    end_pause()
    circuits.acquire_probes()
    circuits.open_circuit(Unavailable("oven", "429", retry_after=500), probing=True)
    assert pause() == 500


def test_a_shorter_wish_does_not_shorten_the_pause() -> None:
    circuits.open_circuit(Unavailable("oven", "429", retry_after=300))
    circuits.open_circuit(Unavailable("oven", "429", retry_after=1))

    assert pause() == 300


def test_closed_and_opened_again_it_begins_anew() -> None:
    circuits.open_circuit(COLD, NOTED)
    end_pause()
    circuits.acquire_probes()
    circuits.open_circuit(COLD, probing=True)

    assert circuits.close_circuit("oven")
    assert not circuits.close_circuit("oven")
    assert str(Circuit.objects.get()) == "oven (closed)"
    circuits.open_circuit(COLD)

    assert pause() == 10
    assert Circuit.objects.get().types == ["test.baked", "test.toasted"]


def test_closing_it_wakes_the_relays() -> None:
    circuits.open_circuit(COLD)
    listener = Listener()
    try:
        listener.wait(0)
        circuits.close_circuit("oven")
        assert listener.wait(5)
    finally:
        listener.close()


def test_while_the_pause_lasts_nobody_probes() -> None:
    circuits.open_circuit(COLD)

    assert circuits.acquire_probes() == []
    assert circuits.snapshot() == circuits.Snapshot(frozenset({"oven"}), frozenset())


def test_a_cluster_leaves_the_probe_to_those_that_handle_what_waits() -> None:
    circuits.open_circuit(Unavailable("kiln", "cold"), "handled.elsewhere", NOTED)
    circuits.open_circuit(Unavailable("stove", "cold"), "handled.elsewhere")
    Circuit.objects.update(open_until=Now())

    assert circuits.acquire_probes() == [("kiln", [NOTED])]


def test_where_nobody_handles_what_waits_any_cluster_probes_after_a_while() -> None:
    circuits.open_circuit(Unavailable("stove", "cold"), "handled.by.nobody")
    Circuit.objects.update(open_until=Now() - timedelta(seconds=circuits.PROBE_SECONDS))

    assert circuits.acquire_probes() == [("stove", [])]


def test_of_several_clusters_one_probes() -> None:
    circuits.open_circuit(COLD)
    end_pause()
    assert circuits.snapshot() == circuits.Snapshot(frozenset(), frozenset({"oven"}))

    def win(_: int) -> list[tuple[str, list[str]]]:
        try:
            return circuits.acquire_probes()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        won = [probe for probes in pool.map(win, range(4)) for probe in probes]

    assert won == [("oven", ["test.baked", "test.toasted"])]


def test_a_probe_that_was_not_made_may_be_made_by_another() -> None:
    circuits.open_circuit(COLD)
    end_pause()
    circuits.acquire_probes()
    assert circuits.acquire_probes() == []

    circuits.release_probe("oven")

    assert len(circuits.acquire_probes()) == 1


def test_the_probe_alone_gets_past_an_open_circuit_but_not_past_another() -> None:
    baked = publish("test.baked")
    circuits.open_circuit(COLD)
    circuits.open_circuit(Unavailable("moon"), "test.baked")
    assert claim(["test.baked"], batch=1, retries=1, probing="oven").events == []

    circuits.close_circuit("moon")
    assert ids(claim(["test.baked"], batch=1, retries=1, probing="oven")) == [baked.id]
