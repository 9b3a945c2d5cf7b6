"""outbox.tasks.backend.OutboxTaskBackend: Django's tasks, delivered as events."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from django_tasks import TaskResult, TaskResultStatus, default_task_backend
from django_tasks.exceptions import InvalidTaskError, TaskResultDoesNotExist
from django_tasks.signals import task_enqueued, task_finished, task_started

from outbox import registry
from outbox.exceptions import WorkerLost
from outbox.models import Event, Failure, Status
from outbox.operations import dead_letters
from outbox.tasks.handler import register, run
from outbox.tasks.names import TASK_ENQUEUED
from outbox.testing import drain, handled
from tests.support import tasks
from tests.support.events import stored
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db

TASKS = {"default": {"BACKEND": "outbox.tasks.backend.OutboxTaskBackend", "QUEUES": ["default", "mail"]}}


@pytest.fixture(autouse=True)
def _backend() -> Iterator[None]:
    tasks.calls.clear()
    with override_settings(TASKS=TASKS), handled(TASK_ENQUEUED, by=run):
        yield


@pytest.fixture
def signals() -> Iterator[list[tuple[str, TaskResultStatus]]]:
    seen: list[tuple[str, TaskResultStatus]] = []
    receivers = {
        signal: lambda task_result, name=name, **_: seen.append((name, task_result.status))
        for name, signal in (
            ("enqueued", task_enqueued),
            ("started", task_started),
            ("finished", task_finished),
        )
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    yield seen
    for signal, receiver in receivers.items():
        signal.disconnect(receiver)


def test_a_task_runs_once_its_transaction_has_committed() -> None:
    with transaction.atomic():
        result = tasks.note.enqueue(1, word="two")
        assert result.status == TaskResultStatus.READY

    drain()

    assert tasks.calls == [((1,), {"word": "two"})]
    result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.is_finished
    assert result.finished_at == Event.objects.get().delivered_at == result.last_attempted_at
    assert result.attempts == 1


def test_a_task_of_a_rolled_back_transaction_does_not_exist() -> None:
    with transaction.atomic():
        tasks.note.enqueue()
        transaction.set_rollback(True)

    assert drain() == 0
    assert Event.objects.count() == 0


def test_outside_a_transaction_it_is_enqueued_at_once() -> None:
    tasks.note.enqueue()

    assert drain() == 1


def test_the_result_is_read_from_the_event_row() -> None:
    result = tasks.note.enqueue(1, word="two")
    event = Event.objects.get()

    found = tasks.note.get_result(result.id)

    assert isinstance(found, TaskResult)
    assert found == result
    assert (found.id, found.args, found.kwargs) == (str(event.pk), [1], {"word": "two"})
    assert (found.enqueued_at, found.started_at, found.finished_at) == (event.created_at, None, None)
    assert (found.task, found.backend) == (tasks.note, "default")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.PENDING, TaskResultStatus.READY),
        (Status.CLAIMED, TaskResultStatus.RUNNING),
        (Status.DELIVERED, TaskResultStatus.SUCCESSFUL),
        (Status.DEAD, TaskResultStatus.FAILED),
        (Status.DISCARDED, TaskResultStatus.FAILED),
    ],
)
def test_every_event_status_has_a_task_status(status: Status, expected: TaskResultStatus) -> None:
    result = tasks.note.enqueue()
    Event.objects.update(status=status)

    assert default_task_backend.get_result(result.id).status == expected


def test_asking_for_a_return_value_says_that_none_is_kept() -> None:
    result = tasks.note.enqueue()
    with pytest.raises(ValueError, match="has not finished yet"):
        result.return_value  # noqa: B018
    drain()
    result.refresh()

    with pytest.raises(NotImplementedError, match="keeps no return values"):
        result.return_value  # noqa: B018


@pytest.mark.parametrize("result_id", ["4242", "nonsense", "9" * 30])
def test_an_unknown_result_id_raises(result_id: str) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(result_id)


def test_the_id_of_another_event_is_no_task_result() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(str(stored("order.placed").pk))


def test_a_task_that_fails_is_retried_and_then_failed() -> None:
    result = tasks.fail.enqueue("broken")

    drain()
    result.refresh()
    assert (result.status, result.attempts) == (TaskResultStatus.READY, 1)
    drain(through_backoff=True)
    result.refresh()

    assert result.status == TaskResultStatus.FAILED
    assert result.attempts == len(result.worker_ids) == len(result.errors) == len(tasks.calls) == 8
    assert result.finished_at == result.last_attempted_at == Failure.objects.latest("id").at
    assert {error.exception_class for error in result.errors} == {tasks.Broken}
    assert "line one\nline two" in result.errors[0].traceback
    with pytest.raises(ValueError, match="Task failed"):
        result.return_value  # noqa: B018


def test_builtin_exceptions_have_their_module() -> None:
    result = tasks.fail.enqueue("wrong")

    drain()
    result.refresh()

    assert result.errors[0].exception_class is ValueError


def test_a_killed_worker_leaves_an_error() -> None:
    result = tasks.note.enqueue()
    Event.objects.update(attempts=1)
    Failure.objects.create(
        event_id=int(result.id), attempt=1, error="The lease expired: it was killed.", worker="lost"
    )

    result.refresh()

    assert result.errors[0].exception_class is WorkerLost


def test_a_rejected_task_is_failed_at_once(signals: list[Any]) -> None:
    result = tasks.fail.enqueue("reject")

    drain()
    result.refresh()

    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 1)
    assert signals[-1] == ("finished", TaskResultStatus.FAILED)


def test_a_failed_task_can_be_retried_by_a_person() -> None:
    result = tasks.fail.enqueue("reject")
    drain()

    dead_letters.retry(events=Event.objects.all(), by="alice")
    result.refresh()

    assert result.status == TaskResultStatus.READY
    assert len(result.errors) == result.attempts == 1


def test_higher_priorities_go_first() -> None:
    for priority in (-100, 0, 100):
        tasks.note.using(priority=priority).enqueue(priority)

    result = default_task_backend.get_result(str(Event.objects.order_by("priority")[0].pk))

    assert (result.args, result.task.priority) == ([100], 100)


def test_a_task_does_not_run_before_run_after() -> None:
    later = timezone.now() + timedelta(hours=1)
    result = tasks.note.using(run_after=later).enqueue()

    assert drain() == 0
    assert Event.objects.get().available_at == later
    assert default_task_backend.get_result(result.id).task.run_after == later
    assert drain(through_backoff=True) == 1


def test_the_queue_name_is_kept_and_checked() -> None:
    result = tasks.note.using(queue_name="mail").enqueue()

    assert default_task_backend.get_result(result.id).task.queue_name == "mail"
    with pytest.raises(InvalidTaskError, match="Queue 'misspelt' is not valid"):
        tasks.note.using(queue_name="misspelt")


def test_arguments_must_be_json() -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        tasks.note.enqueue(object())

    assert Event.objects.count() == 0


def test_an_async_task_runs() -> None:
    tasks.note_async.enqueue("hello")

    drain()

    assert tasks.calls == [("hello",)]


def test_a_task_can_read_its_context() -> None:
    result = tasks.note_attempt.enqueue()

    drain()

    assert tasks.calls == [(result.id, 1)]


def test_signals_of_a_task_that_succeeds(signals: list[Any]) -> None:
    tasks.note.enqueue()
    drain()

    assert signals == [
        ("enqueued", TaskResultStatus.READY),
        ("started", TaskResultStatus.RUNNING),
        ("finished", TaskResultStatus.SUCCESSFUL),
    ]


@override_settings(OUTBOX_MAX_ATTEMPTS=2)
def test_the_finished_signal_of_a_failing_task_comes_at_its_last_attempt(signals: list[Any]) -> None:
    tasks.fail.enqueue("wrong")
    drain(through_backoff=True)

    started = ("started", TaskResultStatus.RUNNING)
    assert signals[1:] == [started, started, ("finished", TaskResultStatus.FAILED)]


def test_an_unavailable_dependency_does_not_finish_a_task(signals: list[Any]) -> None:
    result = tasks.fail.enqueue("unavailable")

    assert drain() == 1

    result.refresh()

    assert result.status == TaskResultStatus.READY
    assert ("finished", TaskResultStatus.FAILED) not in signals


@pytest.mark.parametrize(
    ("setting", "registered"),
    [
        ({}, False),
        ({"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}}, False),
        ({"default": {"BACKEND": "not.installed.Backend"}}, False),
        (TASKS, True),
        ({"default": {"BACKEND": "tests.support.tasks.SubclassBackend"}}, True),
    ],
)
def test_tasks_are_handled_if_the_setting_names_the_backend(
    setting: dict[str, Any], registered: bool
) -> None:
    with handled(TASK_ENQUEUED, by=print):  # restores the former handler at the end
        registry.put(TASK_ENQUEUED, None)
        with override_settings(TASKS=setting):
            register()

        found = registry.handler_of(TASK_ENQUEUED)

    assert (found is not None and found.function is run) is registered


FOREIGN = """
from tests.settings import *

TASKS = {"default": {"BACKEND": "tests.support.foreign_task_backend.Backend"}}
"""
START = "import sys; sys.modules['django_tasks'] = None; import django; django.setup()"


def test_a_project_with_another_task_backend_starts_without_django_tasks(tmp_path: Path) -> None:
    (tmp_path / "foreign_settings.py").write_text(FOREIGN)
    environment = {
        "DJANGO_SETTINGS_MODULE": "foreign_settings",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }

    started = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert started.returncode == 0, started.stderr
