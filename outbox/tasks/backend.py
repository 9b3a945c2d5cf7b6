"""A backend for Django's tasks (the `django-tasks` package before Django 6) that puts them into the outbox.

    TASKS = {"default": {"BACKEND": "outbox.tasks.backend.OutboxTaskBackend"}}

`task.enqueue()` inside `transaction.atomic()` then commits with the change or not at all, and the cluster runs it
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
from outbox.tasks.handler import TASK_ENQUEUED
from outbox.tasks.results import OutboxTaskResult, result_of


class OutboxTaskBackend(BaseTaskBackend):
    """`QUEUES` names are checked and kept, but route nothing: every cluster runs every task."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(
        self, task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> OutboxTaskResult:
        """Joins the current transaction, or is one of its own where there is none."""
        self.validate_task(task)
        event = NewEvent(
            type=TASK_ENQUEUED,
            # An aggregate of its own: tasks wait for nobody.
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
            priority=-task.priority,  # there a higher number goes first, here a lower one
            available_at=task.run_after,
        )
        with transaction.atomic():
            [row] = publish_many([event])
        row.refresh_from_db()
        result = result_of(row)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> OutboxTaskResult:
        """Raises TaskResultDoesNotExist, also for one delivered so long ago that it was pruned."""
        try:
            return result_of(Event.objects.get(pk=result_id, type=TASK_ENQUEUED))
        except (Event.DoesNotExist, ValueError, OverflowError):
            raise TaskResultDoesNotExist(result_id) from None
