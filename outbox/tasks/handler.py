"""Runs the tasks that `outbox.tasks.backend.OutboxTaskBackend` put into the outbox."""

from dataclasses import replace

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from outbox.conf import conf
from outbox.events import ClaimedEvent
from outbox.exceptions import Reject, Unavailable
from outbox.registry import handler

TASK_ENQUEUED = "task.enqueued"


def register() -> None:
    """Handle the events of tasks, in a project whose TASKS setting names our backend; others need no django-tasks."""
    backends = [params["BACKEND"] for params in getattr(settings, "TASKS", {}).values()]
    if any(_is_ours(path) for path in backends):
        handler(TASK_ENQUEUED)(run)


def _is_ours(path: str) -> bool:
    from outbox.tasks.backend import OutboxTaskBackend

    return issubclass(import_string(path), OutboxTaskBackend)


def run(event: ClaimedEvent) -> None:
    """Call the task's function. What it raises is the event's failure: retried with backoff, then dead."""
    from django_tasks import TaskContext, TaskResultStatus
    from django_tasks.base import TaskError
    from django_tasks.signals import task_finished, task_started
    from django_tasks.utils import get_exception_traceback, get_module_path

    from outbox.tasks.results import running

    result = running(event)
    backend = type(result.task.get_backend())
    task_started.send(backend, task_result=result)
    context = [TaskContext(task_result=result)] if result.task.takes_context else []
    try:
        result.task.call(*context, *result.args, **result.kwargs)
    except Unavailable:
        raise
    except Exception as error:
        if isinstance(error, Reject) or event.attempts >= conf.MAX_ATTEMPTS:
            errors = [
                TaskError(
                    exception_class_path=get_module_path(type(error)),
                    traceback=get_exception_traceback(error),
                )
            ]
            failed = replace(
                result, status=TaskResultStatus.FAILED, finished_at=timezone.now(), errors=errors
            )
            task_finished.send(backend, task_result=failed)
        raise
    done = replace(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now())
    task_finished.send(backend, task_result=done)
