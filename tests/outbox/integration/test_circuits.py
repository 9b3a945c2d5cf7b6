"""An unavailable dependency is not called during a growing, capped pause. Then one probe tries it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from math import ceil

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from outbox.exceptions import Unavailable
from outbox.models import Circuit
from outbox.queue import circuits, probes
from outbox.queue.claim import claim
from outbox.queue.probes import Probe
from outbox.relay.listener import Listener
from tests.support.circuits import end_pause
from tests.support.published import NOTED, claim_all, ids, publish

pytestmark = pytest.mark.django_db(transaction=True)

COLD = Unavailable("oven", "it is cold")


@pytest.fixture(autouse=True)
def _pauses(settings: Settings) -> None:
    settings.OUTBOX_CIRCUIT_BASE_SECONDS, settings.OUTBOX_CIRCUIT_CAP_SECONDS = 10.0, 60.0


def probe(dependency: str, *types: str) -> Probe:
    """The probe of a dependency whose types need no other one."""
    return Probe(dependency, [(frozenset({dependency}), list(types))], [])


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
        probes.acquire_probes()
        circuits.open_circuit(COLD, probing=True)
        pauses.append(pause())

    assert pauses == [10, 20, 40, 60, 60]


def test_retry_after_counts_even_above_the_cap() -> None:
    circuits.open_circuit(Unavailable("oven", "429", retry_after=300))
    assert pause() == 300

    circuits.open_circuit(Unavailable("oven", "429", retry_after=400))
    assert pause() == 400

    end_pause()
    probes.acquire_probes()
    circuits.open_circuit(Unavailable("oven", "429", retry_after=500), probing=True)
    assert pause() == 500


def test_a_shorter_retry_after_does_not_shorten_the_pause() -> None:
    circuits.open_circuit(Unavailable("oven", "429", retry_after=300))
    circuits.open_circuit(Unavailable("oven", "429", retry_after=1))

    assert pause() == 300


def test_a_circuit_that_opens_again_starts_with_the_base_pause() -> None:
    circuits.open_circuit(COLD, NOTED)
    end_pause()
    probes.acquire_probes()
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

    assert probes.acquire_probes() == []
    assert circuits.snapshot() == circuits.Snapshot(frozenset({"oven"}), frozenset())


def test_a_cluster_that_handles_a_waiting_type_probes_first() -> None:
    circuits.open_circuit(Unavailable("kiln", "cold"), "handled.elsewhere", NOTED)
    circuits.open_circuit(Unavailable("stove", "cold"), "handled.elsewhere")
    Circuit.objects.update(open_until=Now())

    assert probes.acquire_probes() == [probe("kiln", NOTED)]


def test_any_cluster_probes_after_a_while_if_none_handles_a_waiting_type() -> None:
    circuits.open_circuit(Unavailable("stove", "cold"), "handled.by.nobody")
    Circuit.objects.update(open_until=Now() - timedelta(seconds=probes.PROBE_SECONDS))

    assert probes.acquire_probes() == [Probe("stove", [], [])]


def test_one_of_several_clusters_probes() -> None:
    circuits.open_circuit(COLD)
    end_pause()
    assert circuits.snapshot() == circuits.Snapshot(frozenset(), frozenset({"oven"}))

    def win(_: int) -> list[Probe]:
        try:
            return probes.acquire_probes()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        won = [probe for probes in pool.map(win, range(4)) for probe in probes]

    assert won == [probe("oven", "test.baked", "test.toasted")]


def test_a_released_probe_can_be_made_by_another_cluster() -> None:
    circuits.open_circuit(COLD)
    end_pause()
    probes.acquire_probes()
    assert probes.acquire_probes() == []

    probes.release_probe("oven")

    assert len(probes.acquire_probes()) == 1


def test_a_probe_passes_its_own_circuit_and_no_other() -> None:
    baked = publish("test.baked")
    circuits.open_circuit(COLD)
    circuits.open_circuit(Unavailable("moon"), "test.baked")
    assert claim(["test.baked"], batch=1, retries=1, probing=["oven"]).events == []

    circuits.close_circuit("moon")
    assert ids(claim(["test.baked"], batch=1, retries=1, probing=["oven"])) == [baked.id]


def test_types_that_need_two_dependencies_try_both_together_if_both_pauses_are_over() -> None:
    circuits.open_circuit(COLD)
    circuits.open_circuit(Unavailable("moon"), "test.baked")
    end_pause()

    found = {each.dependency: each for each in probes.acquire_probes()}

    both = (frozenset({"oven", "moon"}), ["test.baked"])
    assert found["oven"] == Probe("oven", [(frozenset({"oven"}), ["test.toasted"]), both], [])
    assert found["moon"] == Probe("moon", [both], [])


def test_a_type_that_needs_another_dependency_in_a_pause_is_blocked() -> None:
    circuits.open_circuit(Unavailable("moon"), "test.baked")
    circuits.open_circuit(COLD)
    Circuit.objects.filter(dependency="moon").update(open_until=Now())

    [moon] = probes.acquire_probes()

    assert moon == Probe("moon", [], ["test.baked"])


def test_a_circuit_whose_events_wait_for_another_one_too_is_not_closed_untried() -> None:
    publish("test.baked")
    circuits.open_circuit(Unavailable("moon"), "test.baked")
    circuits.open_circuit(COLD)
    Circuit.objects.filter(dependency="moon").update(open_until=Now())
    [moon] = probes.acquire_probes()

    probes.end_unused_probe(moon)

    assert circuits.is_open("moon")
    assert probes.acquire_probes() == []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM m.open_until - o.open_until)::float8 FROM outbox_circuit m, outbox_circuit o "
            "WHERE m.dependency = 'moon' AND o.dependency = 'oven'"
        )
        [(apart,)] = cursor.fetchall()
    assert abs(apart) < 1


def test_a_circuit_is_tried_again_after_the_longest_pause_if_a_person_holds_the_other_one() -> None:
    publish("test.baked")
    circuits.open_circuit(Unavailable("moon"), "test.baked")
    circuits.hold("oven", pause=timedelta(hours=1), reason="it is cleaned")
    Circuit.objects.filter(dependency="moon").update(open_until=Now())
    [moon] = probes.acquire_probes()
    assert moon == Probe("moon", [], ["test.baked"])

    probes.end_unused_probe(moon)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM open_until - clock_timestamp()) FROM outbox_circuit WHERE dependency = 'moon'"
        )
        [(seconds,)] = cursor.fetchall()
    assert 50 < seconds <= 60


# --- Holds ------------------------------------------------------------------------------------------------------


def test_a_held_dependency_is_called_by_no_event_and_no_probe() -> None:
    publish("test.baked")
    circuits.open_circuit(COLD)
    circuits.hold("oven", pause=timedelta(hours=1), reason="it is cleaned")
    end_pause()

    assert probes.acquire_probes() == []
    assert claim(["test.baked"], batch=1, retries=1, probing=["oven"]).rows == []
    assert circuits.snapshot() == circuits.Snapshot(frozenset({"oven"}), frozenset())


def test_a_hold_ends_by_itself_and_leaves_a_closed_circuit_closed() -> None:
    baked = publish("test.baked")
    circuits.hold("oven", pause=timedelta(hours=1), reason="it is cleaned")
    assert claim_all("test.baked").rows == []

    Circuit.objects.update(held_until=Now())

    assert not circuits.is_open("oven")
    assert ids(claim_all("test.baked")) == [baked.id]


def test_closing_the_circuit_of_a_held_dependency_keeps_the_hold() -> None:
    publish("test.baked")
    circuits.open_circuit(COLD)
    circuits.hold("oven", pause=timedelta(hours=1), reason="it is cleaned")

    assert circuits.close_circuit("oven")

    assert circuits.is_open("oven")
    assert claim_all("test.baked").rows == []


@pytest.mark.parametrize("opened", [False, True])
def test_releasing_a_held_dependency_ends_the_hold_and_closes_the_circuit(opened: bool) -> None:
    baked = publish("test.baked")
    if opened:
        circuits.open_circuit(COLD)
    circuits.hold("oven", pause=timedelta(hours=1), reason="it is cleaned")
    listener = Listener()
    try:
        listener.wait(0)
        assert circuits.release("oven")
        assert listener.wait(5)
    finally:
        listener.close()

    assert not circuits.release("oven")
    assert Circuit.objects.get().hold_reason == ""
    assert ids(claim_all("test.baked")) == [baked.id]


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(lambda: circuits.open_circuit(COLD, probing=True), id="it fails"),
        pytest.param(lambda: circuits.close_circuit("oven"), id="it succeeds"),
        pytest.param(lambda: probes.release_probe("oven"), id="it is given back"),
        pytest.param(lambda: probes.end_unused_probe(probe("oven", "test.baked")), id="no event tries it"),
    ],
)
def test_the_outcome_of_a_probe_in_flight_changes_no_hold(outcome: Callable[[], object]) -> None:
    publish("test.baked")
    circuits.open_circuit(COLD)
    end_pause()
    assert [probe.dependency for probe in probes.acquire_probes()] == ["oven"]
    circuits.hold("oven", pause=timedelta(hours=1), reason="it is cleaned")
    held = Circuit.objects.values("held_until", "hold_reason").get()

    outcome()

    assert Circuit.objects.values("held_until", "hold_reason").get() == held
    end_pause()
    assert probes.acquire_probes() == []
    assert claim_all("test.baked").rows == []
