"""Recovery: events that a dead process, cluster or machine had claimed are delivered within seconds.

Leases last 300 s here, so each of these tests would run out of time if it waited for one.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from django.db import transaction

from outbox.models import Event, Relay, Status
from tests.support.clusters import Cluster, cluster, url_of_the_tests_database
from tests.support.outbox_app.models import Effect
from tests.support.proxy import Proxy
from tests.support.published import publish, publish_all, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

BACKLOG = 600
# Wide enough for a busy machine, and far below a lease.
SECONDS = 60.0


def publish_backlog() -> None:
    with transaction.atomic():
        publish_all("test.slow", range(BACKLOG))


def open_events() -> int:
    return Event.objects.exclude(status=Status.DELIVERED).count()


def wait_until_claimed() -> None:
    """Until some events are delivered and others are claimed."""
    wait_until(lambda: 0 < open_events() < BACKLOG and Event.objects.filter(status=Status.CLAIMED).exists())


def wait_until_delivered(what: str) -> None:
    started = time.monotonic()
    wait_until(lambda: open_events() == 0, seconds=SECONDS)
    print(f"{what}: {time.monotonic() - started:.1f} s from the kill to the last delivery")


def relay(running: Cluster) -> int:
    pid = running.relay_pid()
    assert pid
    return pid


def monitor(running: Cluster) -> int:
    return running.pids("monitoring at")[-1]


def worker(running: Cluster) -> int:
    return running.pids("ready for work at")[-1]


@pytest.mark.parametrize("find", [relay, monitor], ids=["the relay", "the monitor"])
def test_a_backlog_is_delivered_once_after_a_process_beside_the_workers_was_killed(
    tmp_path: Path, find: Callable[[Cluster], int]
) -> None:
    with cluster(tmp_path) as running:
        publish_backlog()
        wait_until_claimed()

        os.kill(find(running), signal.SIGKILL)

        wait_until_delivered(find.__name__)
    assert Event.objects.filter(attempts=1).count() == BACKLOG
    assert Effect.objects.count() == BACKLOG


def test_a_backlog_is_delivered_after_a_worker_was_killed_and_only_its_event_loses_an_attempt(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path, CLUSTER_WORKERS="2") as running:
        publish_backlog()
        wait_until_claimed()

        os.kill(worker(running), signal.SIGKILL)

        wait_until_delivered("worker")
    assert Event.objects.filter(attempts=2).count() <= 1
    assert Event.objects.filter(attempts__gt=2).count() == 0
    assert set(Counter(Effect.objects.values_list("event", flat=True)).values()) <= {1, 2}


def test_a_backlog_is_delivered_after_the_whole_cluster_was_killed_and_started_again(tmp_path: Path) -> None:
    with cluster(tmp_path) as running:
        publish_backlog()
        wait_until_claimed()
        running.kill()

    with cluster(tmp_path):
        wait_until_delivered("cluster")
    assert Event.objects.filter(attempts=1).count() == BACKLOG


def test_another_cluster_delivers_what_a_killed_one_of_another_container_had_claimed(tmp_path: Path) -> None:
    """Its processes cannot be seen from here. Its session in the database has ended."""
    with cluster(tmp_path) as lost:
        in_hand = publish("test.waited_for", file=str(tmp_path / "go on"))
        wait_until(Effect.objects.exists)
        with cluster(tmp_path):
            Relay.objects.update(process="")
            (tmp_path / "go on").touch()
            os.killpg(lost.process.pid, signal.SIGKILL)

            wait_until(lambda: status_of(in_hand) == ["delivered"], seconds=SECONDS)


def test_another_cluster_delivers_what_a_lost_machine_had_claimed_and_the_lost_one_changes_nothing_later(
    tmp_path: Path,
) -> None:
    """Its processes are frozen and its connections cut. Then it comes back."""
    with Proxy(url_of_the_tests_database()) as network, cluster(tmp_path, database_url=network.url) as lost:
        in_hand = publish("test.waited_for", file=str(tmp_path / "go on"))
        wait_until(Effect.objects.exists)
        with cluster(tmp_path) as living:
            lost.freeze()
            network.refuse()

            wait_until(lambda: Effect.objects.count() == 2, seconds=SECONDS)
            assert Effect.objects.last().worker in pids(living)
            network.heal()
            lost.thaw()
            (tmp_path / "go on").touch()
            wait_until(lambda: status_of(in_hand) == ["delivered"], seconds=SECONDS)
            wait_until(lambda: "their claim had ended" in lost.output, seconds=SECONDS)

            # Both clusters work on.
            after = publish_all("test.slow", range(200))
            wait_until(lambda: status_of(*after) == ["delivered"] * 200, seconds=SECONDS)
    assert Event.objects.get(id=in_hand.id).attempts == 1
    assert Effect.objects.count() == 202


def test_a_cluster_that_stops_keeps_its_claims_until_its_workers_have_ended(tmp_path: Path) -> None:
    """The relay ends first, and the heartbeat goes on."""
    with cluster(tmp_path) as stopping:
        in_hand = publish("test.waited_for", file=str(tmp_path / "go on"))
        wait_until(Effect.objects.exists)
        with cluster(tmp_path) as other:
            pid = relay(stopping)
            stopping.ask_to_stop()
            wait_until(lambda: not psutil.pid_exists(pid))
            seen = Relay.objects.get(pid=pid).alive_at
            # Longer than another relay would wait for a dead one.
            wait_until(lambda: (Relay.objects.get(pid=pid).alive_at - seen).total_seconds() > 6)
            assert status_of(in_hand) == ["claimed"]
            (tmp_path / "go on").touch()

            assert stopping.wait_for_end() == 0
            wait_until(lambda: Relay.objects.get(pid=pid).ended_at)
            assert "are free again" not in other.output
    assert (status_of(in_hand), Effect.objects.count()) == (["delivered"], 1)


def pids(running: Cluster) -> set[int]:
    return {process.pid for process in running.processes()}
