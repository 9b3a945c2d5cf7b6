"""The result of a task of `django_tasks`, read from its event's row."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.module_loading import import_string
from django_tasks import TaskResult, TaskResultStatus
from django_tasks.base import Task, TaskError

from outbox.events import ClaimedEvent
from outbox.exceptions import WorkerLost
from outbox.models import Event, Failure, Status

STATUS = {
    Status.PENDING: TaskResultStatus.READY,
    Status.CLAIMED: TaskResultStatus.RUNNING,
    Status.DELIVERED: TaskResultStatus.SUCCESSFUL,
    Status.DEAD: TaskResultStatus.FAILED,
    Status.DISCARDED: TaskResultStatus.FAILED,
}
# The worker of a successful or running attempt: only the worker of a failed attempt is on record.
UNRECORDED = "unrecorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxTaskResult(TaskResult[Any]):
    """A task's state. `started_at` is None, because the outbox does not keep the time of a claim."""

    @property
    def return_value(self) -> Any:
        """Raises NotImplementedError if the task succeeded, because the outbox keeps no return values."""
        if self.status == TaskResultStatus.SUCCESSFUL:
            raise NotImplementedError(
                "The outbox keeps no return values. Let the task store its result under a key that you pass to it."
            )
        return TaskResult.return_value.__get__(self)  # super() fails in a dataclass with slots


def result_of(event: Event) -> OutboxTaskResult:
    """The task's state in the row. Raises ImportError if the code no longer has the task."""
    failures = list(event.failures.all())
    last_failed_at = failures[-1].at if failures else None
    status = Status(event.status)
    return OutboxTaskResult(
        task=task_of(event),
        id=str(event.pk),
        status=STATUS[status],
        enqueued_at=event.created_at,
        started_at=None,
        finished_at=last_failed_at if status == Status.DEAD else event.delivered_at,
        last_attempted_at=event.delivered_at or last_failed_at,
        args=event.payload["args"],
        kwargs=event.payload["kwargs"],
        backend=event.payload["backend"],
        errors=[_error(failure) for failure in failures],
        worker_ids=_workers(failures, event.attempts),
    )


def running(event: ClaimedEvent) -> OutboxTaskResult:
    """The state of the task that this worker runs now."""
    return OutboxTaskResult(
        task=task_of(event),
        id=str(event.id),
        status=TaskResultStatus.RUNNING,
        enqueued_at=event.created_at,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=event.payload["args"],
        kwargs=event.payload["kwargs"],
        backend=event.payload["backend"],
        errors=[],
        worker_ids=[UNRECORDED] * event.attempts,
    )


def task_of(event: Event | ClaimedEvent) -> Task[..., Any]:
    """The task with the options of its enqueueing. Raises ImportError if the code no longer has the task."""
    payload = event.payload
    task: Task[..., Any] = import_string(payload["task"])
    run_after = payload["run_after"]
    return task.using(
        priority=-event.priority,
        queue_name=payload["queue_name"],
        backend=payload["backend"],
        run_after=run_after and datetime.fromisoformat(run_after),
    )


def _workers(failures: Sequence[Failure], attempts: int) -> list[str]:
    """One entry for each attempt. A retry by a person resets the attempts and keeps the failures."""
    workers = [failure.worker for failure in failures]
    return workers + [UNRECORDED] * (attempts - len(workers))


def _error(failure: Failure) -> TaskError:
    return TaskError(exception_class_path=_exception_class_path(failure), traceback=failure.traceback)


def _exception_class_path(failure: Failure) -> str:
    """The class named by the failure, with its module from the last traceback line that names it."""
    name = failure.error.partition(":")[0]
    lines = re.findall(rf"^((?:[\w<>]+\.)*{re.escape(name)})(?::|$)", failure.traceback, re.MULTILINE)
    if not lines:
        # The worker was killed, so there is no traceback.
        return f"{WorkerLost.__module__}.{WorkerLost.__qualname__}"
    return lines[-1] if "." in lines[-1] else f"builtins.{lines[-1]}"
