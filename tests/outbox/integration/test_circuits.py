"""An unavailable dependency is not called during a growing, capped pause. Then one probe tries it."""

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
    """Seconds until the next probe, by the clock of the database, in tens, because some may have passed."""
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


def test_workers_that_fail_at_the_same_time_open_it_once() -> None:
    for _ in range(5):
        circuits.open_circuit(COLD)

    assert Circuit.objects.get().failures == 1
    assert pause() == 10


def test_types_that_turn_out_to_need_the_dependency_are_added() -> None:
    circuits.open_circuit(COLD)
    circuits.open_circuit(COLD, NOTED)

    assert sorted(Circuit.objects.get().types) == ["test.baked", NOTED, "test.toasted"]


def test_the_pause_doubles_with_each_failed_probe_up_to_the_cap() -> None:
    circuits.open_circuit(COLD)
    pauses = [pause()]
    for _ in range(4):
        end_pause()
        circuits.acquire_probes()
        circuits.open_circuit(COLD, probing=True)
        pauses.append(pause())

    assert pauses == [10, 20, 40, 60, 60]


def test_retry_after_counts_even_above_the_cap() -> None:
    circuits.open_circuit(Unavailable("oven", "429", retry_after=300))
    assert pause() == 300

    circuits.open_circuit(Unavailable("oven", "429", retry_after=400))
    assert pause() == 400

    end_pause()
    circuits.acquire_probes()
    circuits.open_circuit(Unavailable("oven", "429", retry_after=500), probing=True)
    assert pause() == 500


def test_a_shorter_retry_after_does_not_shorten_the_pause() -> None:
    circuits.open_circuit(Unavailable("oven", "429", retry_after=300))
    circuits.open_circuit(Unavailable("oven", "429", retry_after=1))

    assert pause() == 300


def test_a_circuit_that_opens_again_starts_with_the_base_pause() -> None:
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


def test_no_probe_runs_during_the_pause() -> None:
    circuits.open_circuit(COLD)

    assert circuits.acquire_probes() == []
    assert circuits.snapshot() == circuits.Snapshot(frozenset({"oven"}), frozenset())


def test_a_cluster_that_handles_a_waiting_type_probes_first() -> None:
    circuits.open_circuit(Unavailable("kiln", "cold"), "handled.elsewhere", NOTED)
    circuits.open_circuit(Unavailable("stove", "cold"), "handled.elsewhere")
    Circuit.objects.update(open_until=Now())

    assert circuits.acquire_probes() == [("kiln", [NOTED])]


def test_any_cluster_probes_after_a_while_if_none_handles_a_waiting_type() -> None:
    circuits.open_circuit(Unavailable("stove", "cold"), "handled.by.nobody")
    Circuit.objects.update(open_until=Now() - timedelta(seconds=circuits.PROBE_SECONDS))

    assert circuits.acquire_probes() == [("stove", [])]


def test_one_of_several_clusters_probes() -> None:
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


def test_a_released_probe_can_be_made_by_another_cluster() -> None:
    circuits.open_circuit(COLD)
    end_pause()
    circuits.acquire_probes()
    assert circuits.acquire_probes() == []

    circuits.release_probe("oven")

    assert len(circuits.acquire_probes()) == 1


def test_a_probe_passes_its_own_circuit_and_no_other() -> None:
    baked = publish("test.baked")
    circuits.open_circuit(COLD)
    circuits.open_circuit(Unavailable("moon"), "test.baked")
    assert claim(["test.baked"], batch=1, retries=1, probing="oven").events == []

    circuits.close_circuit("moon")
    assert ids(claim(["test.baked"], batch=1, retries=1, probing="oven")) == [baked.id]
