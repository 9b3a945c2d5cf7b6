"""A backend for Django's tasks (the `django-tasks` package before Django 6) that puts them into the outbox.

    TASKS = {"default": {"BACKEND": "outbox.tasks.backend.OutboxTaskBackend"}}

`task.enqueue()` inside `transaction.atomic()` then commits with the change or not at all. The cluster runs the task
like any event: claimed, retried with backoff, dead after OUTBOX_MAX_ATTEMPTS, visible in the admin.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from django.db import transaction
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.base import Task
from django_tasks.exceptions import TaskResultDoesNotExist
from django_tasks.signals import task_enqueued
from django_tasks.utils import normalize_json

from outbox.events import NewEvent
from outbox.models import Event
from outbox.publishing.publish import publish_many
from outbox.tasks.names import TASK_ENQUEUED
from outbox.tasks.results import OutboxTaskResult, result_of


class OutboxTaskBackend(BaseTaskBackend):
    """The task backend. It checks and keeps queue names (`QUEUES`), but every cluster runs every task."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(
        self, task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> OutboxTaskResult:
        """Publish the task in the current transaction, or in its own if there is none.

        Raises InvalidTaskError if the task's options are not supported, TypeError if an argument is no JSON.
        """
        self.validate_task(task)
        event = NewEvent(
            type=TASK_ENQUEUED,
            # Each task is its own aggregate, so that no task waits for another.
            aggregatetype="task",
            aggregateid=uuid4().hex,
            payload={
                "task": task.module_path,
                "args": normalize_json(args),
                "kwargs": normalize_json(kwargs),
                "queue_name": task.queue_name,
                "backend": self.alias,
                "run_after": task.run_after and task.run_after.isoformat(),
            },
            priority=-task.priority,  # in Django a higher number goes first, in the outbox a lower one
            available_at=task.run_after,
        )
        with transaction.atomic():
            [row] = publish_many([event])
        row.refresh_from_db()
        result = result_of(row)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> OutboxTaskResult:
        """The task's state. Raises TaskResultDoesNotExist, also if the event was pruned."""
        try:
            return result_of(Event.objects.get(pk=result_id, type=TASK_ENQUEUED))
        except (Event.DoesNotExist, ValueError, OverflowError):
            raise TaskResultDoesNotExist(result_id) from None
