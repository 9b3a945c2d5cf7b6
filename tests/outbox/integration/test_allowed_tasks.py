"""A worker runs registered functions only, whatever a schedule or a queued task names."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django_q import monitor, worker
from django_q.models import Failure, OrmQ, Schedule, Success, Task
from django_q.scheduler import scheduler
from django_q.tasks import async_chain, async_task
from pytest_django.fixtures import Settings

from outbox.cluster import allowed_tasks, ipc
from outbox.cluster.allowed_tasks import TaskNotAllowed
from outbox.operations.schedules import ensure_schedules, register_schedule, registered_names
from outbox.relay.broker import OutboxBroker
from tests.support.clusters import cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

RUN = "subprocess.getoutput"
calls: list[Any] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    """A file that a forbidden task would create."""
    return tmp_path / "touched"


def note(*args: Any) -> None:
    calls.append(args)


def run_queued(broker: OutboxBroker) -> None:
    """Run the queued tasks as a cluster does: pusher, worker, monitor."""
    tasks, results = ipc.Queue(), ipc.Queue()
    for acknowledge, package in broker.dequeue():
        tasks.put({**ipc.Packages.loads(package), "ack_id": acknowledge})
    tasks.put("STOP")
    worker.worker(tasks, results, ipc.SharedTimer("f", -1), timeout=30)
    results.put("STOP")
    monitor.monitor(results, broker)


def due_schedule(function: str, **fields: Any) -> None:
    Schedule.objects.all().delete()
    Schedule.objects.create(
        name="mine", func=function, next_run=timezone.now() - timedelta(seconds=1), **fields
    )


def refusal() -> str:
    """The result of the only task, which failed."""
    assert not Success.objects.exists()
    assert not OrmQ.objects.exists()
    return str(Failure.objects.get().result)


def test_a_schedule_of_a_function_that_is_not_registered_fails_with_the_reason(
    broker: OutboxBroker, touched: Path, caplog: pytest.LogCaptureFixture
) -> None:
    due_schedule(RUN, args=f"'touch {touched}'")

    scheduler(broker)
    run_queued(broker)

    assert not touched.exists()
    assert refusal().startswith(
        "The function subprocess.getoutput is not registered, so the task was refused."
    )
    assert "OUTBOX_ALLOWED_TASKS" in refusal()
    assert Failure.objects.get().func == RUN
    assert "The function subprocess.getoutput is not registered" in caplog.text


def test_a_schedule_cannot_run_it_in_the_scheduler_either(broker: OutboxBroker, touched: Path) -> None:
    """With `sync`, django-q2 runs a task in the process that queues it."""
    due_schedule(RUN, args=f"'touch {touched}'", kwargs='{"q_options": {"sync": True}}')

    scheduler(broker)

    assert not touched.exists()
    assert not OrmQ.objects.exists()


def test_a_queued_function_that_is_not_registered_is_refused(broker: OutboxBroker, touched: Path) -> None:
    async_task(touched.touch)

    run_queued(broker)

    assert not touched.exists()
    assert "is not registered" in refusal()


def test_a_task_whose_hook_is_not_registered_does_not_run(broker: OutboxBroker) -> None:
    async_task("operator.neg", 1, hook=f"{__name__}.note")

    run_queued(broker)

    assert calls == []
    assert refusal().startswith(f"The hook {__name__}.note is not registered, so the task was refused.")


def test_a_task_that_is_saved_elsewhere_runs_no_hook_that_is_not_registered() -> None:
    now = timezone.now()
    Task.objects.create(id="1", name="one", func="f", hook=f"{__name__}.note", started=now, stopped=now)

    assert calls == []


def test_a_chain_runs_its_registered_functions_only(broker: OutboxBroker, touched: Path) -> None:
    async_chain([("operator.neg", (1,)), (RUN, (f"touch {touched}",))])

    run_queued(broker)
    run_queued(broker)

    assert not touched.exists()
    assert Success.objects.get().func == "operator.neg"
    assert Failure.objects.get().func == RUN


def test_a_listed_function_and_hook_run(broker: OutboxBroker, settings: Settings) -> None:
    settings.OUTBOX_ALLOWED_TASKS = ["operator.neg", f"{__name__}.note"]
    async_task("operator.neg", 1, hook=note)

    run_queued(broker)

    assert Success.objects.get().result == -1
    assert [args[0].result for args in calls] == [-1]


def test_a_star_allows_any_function(broker: OutboxBroker, settings: Settings, touched: Path) -> None:
    settings.OUTBOX_ALLOWED_TASKS = ["*"]
    async_task(touched.touch)

    run_queued(broker)

    assert touched.exists()


def test_a_function_given_as_an_object_is_known_by_its_path(settings: Settings) -> None:
    assert not allowed_tasks.is_allowed(note)
    settings.OUTBOX_ALLOWED_TASKS = [f"{__name__}.note"]

    assert allowed_tasks.is_allowed(note)


def test_sync_tasks_raise_the_refusal() -> None:
    with pytest.raises(TaskNotAllowed, match=r"subprocess\.getoutput is not registered"):
        async_task(RUN, "true", sync=True)


def test_every_function_of_a_registered_schedule_may_run(broker: OutboxBroker) -> None:
    ensure_schedules()
    functions = Schedule.objects.filter(name__in=registered_names()).values_list("func", flat=True)

    assert set(functions) >= {"outbox.operations.prune.prune", "memories.schedules.verify_index"}
    assert [function for function in functions if not allowed_tasks.is_allowed(function)] == []


def test_a_name_is_registered_for_one_function() -> None:
    with pytest.raises(
        ValueError, match=r"'outbox_prune' is already registered for outbox\.operations\.prune"
    ):
        register_schedule("outbox_prune", RUN, minutes=1)

    assert not allowed_tasks.is_allowed(RUN)


def test_a_real_cluster_refuses_it(tmp_path: Path, touched: Path) -> None:
    with cluster(tmp_path):
        task = async_task(RUN, f"touch {touched}")
        wait_until(Failure.objects.filter(id=task).exists)

    assert not touched.exists()
    assert "is not registered" in str(Failure.objects.get(id=task).result)
