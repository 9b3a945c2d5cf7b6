"""Which functions a worker may run as a task.

django-q2 runs whatever function a schedule or a queued task names, so that a person who may add a schedule in the admin
can run any function on the host. Here a worker runs registered functions only: the outbox's own, the functions of
`outbox.operations.schedules.register_schedule`, and those that OUTBOX_ALLOWED_TASKS lists. The same holds for hooks,
the functions that django-q2 calls with the result of a task.

The check is in the worker, where the name becomes a function, and so covers every way into the queue: schedules, queued
rows, chains, and tasks with `sync`.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db.models.signals import post_save

from outbox.conf import conf

logger = logging.getLogger(__name__)

ANY = "*"
Function = str | Callable[..., Any]

_registered: set[Function] = set()


class TaskNotAllowed(Exception):
    """A task or its hook names a function that is not registered."""


def allow(*functions: Function) -> None:
    """Let workers run these functions as tasks and hooks. Call it while the apps load (`AppConfig.ready`).

    `functions`: dotted paths, as a schedule names them, or the functions themselves.
    """
    _registered.update(functions)


def is_allowed(function: Function) -> bool:
    """Whether a worker may run the function."""
    allowed = conf.ALLOWED_TASKS
    return function in _registered or ANY in allowed or _path_of(function) in {*_registered, *allowed}


def _path_of(function: Function) -> str:
    if isinstance(function, str):
        return function
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"


class Refused:
    """The function of a refused task: it raises. Its text is the refused name, which django-q2 records."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return self.name

    def __call__(self, *_args: Any, **_options: Any) -> None:
        raise TaskNotAllowed(self.reason)


def guard(task: dict[str, Any]) -> dict[str, Any]:
    """The task, or a task that fails with the reason if the function or the hook of the task is not allowed."""
    for use in ("func", "hook"):
        function = task.get(use)
        if function and not is_allowed(function):
            return _refused(task, use, _path_of(function))
    return task


def _refused(task: dict[str, Any], use: str, path: str) -> dict[str, Any]:
    what = "function" if use == "func" else "hook"
    reason = (
        f"The {what} {path} is not registered, so the task was refused. Add it to OUTBOX_ALLOWED_TASKS, or register it "
        "with outbox.operations.schedules.register_schedule."
    )
    logger.error("Task %s: %s", task["name"], reason)
    # Acknowledged, because another try would be refused again. Neither its hook nor its chain runs.
    return {
        **task,
        "func": Refused(_path_of(task["func"]), reason),
        "hook": None,
        "chain": None,
        "ack_failure": True,
    }


class GuardedQueue:
    """A worker's queue of tasks. `get` returns tasks that the worker may run."""

    def __init__(self, tasks: Any) -> None:
        self._tasks = tasks

    def get(self) -> Any:
        task = self._tasks.get()
        return guard(task) if isinstance(task, dict) else task


def install() -> None:
    """Guard the workers and the hooks of this process and of those that it forks. Calling it again changes nothing.

    `cluster.worker` runs in a cluster, `worker.worker` runs a task with `sync` in the process that queues it.
    """
    from django_q import cluster, signals, worker
    from django_q.models import Task

    if not hasattr(worker.worker, "__wrapped__"):
        cluster.worker = worker.worker = _guarded(worker.worker)
    post_save.disconnect(signals.call_hook, sender=Task)
    post_save.connect(_call_allowed_hook, sender=Task, dispatch_uid="outbox_hook")


def _guarded(worker: Callable[..., None]) -> Callable[..., None]:
    @wraps(worker)
    def guarded(task_queue: Any, *args: Any, **options: Any) -> None:
        worker(GuardedQueue(task_queue), *args, **options)

    return guarded


def _call_allowed_hook(sender: Any, instance: Any, **options: Any) -> None:
    from django_q import signals

    if not instance.hook or is_allowed(instance.hook):
        signals.call_hook(sender, instance, **options)
    else:
        logger.error("Task %s: its hook %s is not registered and does not run.", instance.name, instance.hook)
