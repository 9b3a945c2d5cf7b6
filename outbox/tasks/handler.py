"""The handler of task events: it runs the tasks that `outbox.tasks.backend.OutboxTaskBackend` published."""

import sys
from dataclasses import replace

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from outbox.conf import conf
from outbox.events import ClaimedEvent
from outbox.exceptions import Reject, Unavailable
from outbox.registry import handler
from outbox.tasks.names import BACKEND, TASK_ENQUEUED


def register() -> None:
    """Register the handler if the TASKS setting names our backend. Other projects do not need `django_tasks`."""
    if any(_is_ours(options["BACKEND"]) for options in getattr(settings, "TASKS", {}).values()):
        handler(TASK_ENQUEUED)(run)


def _is_ours(path: str) -> bool:
    """Whether the path names our backend or a subclass of it."""
    if path == BACKEND:
        return True
    try:
        backend = import_string(path)
    except ImportError:
        # It is not ours, and Django reports the error when the backend is used.
        return False
    # The module of a subclass has imported the module of our backend.
    module = sys.modules.get(BACKEND.rpartition(".")[0])
    return module is not None and issubclass(backend, module.OutboxTaskBackend)


def run(event: ClaimedEvent) -> None:
    """Call the task's function. Its exception is a failure of the event: retried with backoff, then dead."""
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
