"""Killed processes of a cluster, and events that kill their worker."""

import os
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from django.db import transaction
from django_q.models import Success
from django_q.tasks import async_task
from pytest_django.fixtures import Settings

from outbox.models import Event, Failure
from outbox.operations import clusters
from tests.support.clusters import cluster
from tests.support.outbox_app.models import Effect
from tests.support.published import publish, publish_all, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_that_kills_its_worker_is_dead_after_max_attempts_and_others_are_delivered(
    tmp_path: Path, settings: Settings
) -> None:
    """No event waits until a lease expires."""
    settings.OUTBOX_MAX_ATTEMPTS = 3
    with cluster(tmp_path, OUTBOX_MAX_ATTEMPTS="3") as running:
        (poison,) = publish_all("test.deadly", ["poison"], kill=True)
        wait_until(lambda: Event.objects.get(id=poison.id).attempts == 1)
        for attempt in (1, 2, 3):
            wait_until(lambda attempt=attempt: running.output.count("after death") >= attempt, seconds=60)
        wait_until(lambda: status_of(poison) == ["dead"], seconds=60)

        for failure in Failure.objects.filter(event=poison):
            assert failure.error.startswith(f"Worker {failure.worker} was killed (signal 9) while it handled")
        assert Failure.objects.filter(event=poison).values("worker").distinct().count() == 3
        assert Event.objects.get(id=poison.id).attempts == 3
        after = publish()
        wait_until(lambda: status_of(after) == ["delivered"])


def test_a_deadly_event_is_found_by_halves_and_its_neighbours_lose_no_attempt(
    tmp_path: Path, settings: Settings
) -> None:
    settings.OUTBOX_MAX_ATTEMPTS = 2
    with transaction.atomic():
        neighbours = publish_all("test.deadly", range(15))
        (poison,) = publish_all("test.deadly", ["poison"], kill=True)
    with cluster(tmp_path, OUTBOX_MAX_ATTEMPTS="2", OUTBOX_BACKOFF_CAP_SECONDS="0.1") as running:
        wait_until(lambda: status_of(poison) == ["dead"], seconds=60)
        wait_until(lambda: status_of(*neighbours) == ["delivered"] * 15, seconds=60)

        # With 16, 8, 4 and 2 events, and twice alone.
        wait_until(lambda: running.output.count("after death") == 6)
        assert Counter(Effect.objects.values_list("together", flat=True)) == {8: 8, 4: 4, 2: 2, 1: 1}
        assert [failure.event_id for failure in Failure.objects.all()] == [poison.id] * 2
        assert set(Event.objects.values_list("status", "attempts")) == {("delivered", 1), ("dead", 2)}


def test_a_handler_that_takes_too_long_is_ended_and_the_reason_recorded(tmp_path: Path) -> None:
    with cluster(tmp_path, CLUSTER_TIMEOUT_SECONDS="5", OUTBOX_MAX_ATTEMPTS="1") as running:
        event = publish("test.waited_for", file=str(tmp_path / "never"))

        wait_until(lambda: status_of(event) == ["dead"], seconds=60)

        failure = Failure.objects.get(event=event)
        assert failure.error == "TimeoutException: Task exceeded maximum timeout value (5 seconds)"
        assert "in wait" in failure.traceback
        wait_until(lambda: "after timeout" in running.output, seconds=60)


def test_events_that_were_claimed_with_a_hanging_one_do_not_wait_for_its_timeout(tmp_path: Path) -> None:
    file = tmp_path / "done"
    with transaction.atomic():
        hanging = publish("test.waited_for", file=str(file))
        others = publish_all("test.noted", range(9))
    with cluster(tmp_path, CLUSTER_WORKERS="2", CLUSTER_TIMEOUT_SECONDS="120"):
        wait_until(lambda: status_of(*others) == ["delivered"] * 9, seconds=60)
        assert status_of(hanging) == ["claimed"]

        file.touch()

        wait_until(lambda: status_of(hanging) == ["delivered"], seconds=60)
    assert set(Event.objects.values_list("attempts", flat=True)) == {1}
    assert Counter(Effect.objects.values_list("event", flat=True)) == Counter(
        [e.id for e in [hanging, *others]]
    )


def test_the_heartbeat_says_what_each_worker_has_in_hand(tmp_path: Path) -> None:
    file = tmp_path / "done"
    with cluster(tmp_path) as running:
        event = publish("test.waited_for", file=str(file))
        label = f"test.waited_for #{event.pk}"

        def in_hand() -> list[str]:
            return [worker.task for found in clusters.alive() for worker in found.workers]

        wait_until(lambda: label in in_hand(), seconds=60)
        [found] = clusters.alive()
        assert found.claimed == 1
        assert all(psutil.pid_exists(worker.pid) for worker in found.workers)
        assert in_hand().count("") == len(found.workers) - 1
        file.touch()
        wait_until(lambda: set(in_hand()) == {""}, seconds=60)
        running.ask_to_stop()
        assert running.wait_for_end() == 0
    assert clusters.recent() == []


def test_a_killed_relay_is_replaced_and_loses_nothing(tmp_path: Path) -> None:
    with cluster(tmp_path) as running:
        relay = running.relay_pid()
        assert relay
        os.kill(relay, signal.SIGKILL)

        event = publish()

        wait_until(lambda: status_of(event) == ["delivered"], seconds=60)
        assert "reincarnated pusher" in running.output


def test_a_process_killed_while_it_waits_blocks_no_other(tmp_path: Path) -> None:
    """A worker waits for its next task, the monitor for a result."""
    with cluster(tmp_path) as running:
        before = publish()
        wait_until(lambda: status_of(before) == ["delivered"], seconds=60)
        wait_until(lambda: "Processed" in running.output, seconds=60)
        os.kill(running.pids("ready for work at")[-1], signal.SIGKILL)
        os.kill(running.pids("monitoring at")[-1], signal.SIGKILL)

        after, task = publish(), async_task("operator.add", 2, 3)

        wait_until(lambda: status_of(after) == ["delivered"], seconds=60)
        wait_until(lambda: Success.objects.filter(id=task).exists(), seconds=60)
        assert Success.objects.get(id=task).result == 5
        running.ask_to_stop()
        assert running.wait_for_end() == 0


@pytest.mark.parametrize("killed", ["the sentinel", "the main process"])
def test_no_process_of_a_cluster_outlives_its_sentinel(tmp_path: Path, killed: str) -> None:
    with cluster(tmp_path) as running:
        processes = running.processes()
        (sentinel,) = psutil.Process(running.process.pid).children()
        os.kill(sentinel.pid if killed == "the sentinel" else running.process.pid, signal.SIGKILL)

        wait_until(lambda: not any(is_alive(process) for process in processes), seconds=60)
        # The exit code tells a service manager to start the cluster again.
        assert running.wait_for_end() != 0


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
