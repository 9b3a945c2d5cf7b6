"""Tasks of a project that uses the outbox as its task backend."""

from django_tasks import TaskContext, task

import outbox
from outbox.tasks.backend import OutboxTaskBackend

calls: list[tuple[object, ...]] = []


@task()
def note(*args: object, **kwargs: object) -> str:
    calls.append((args, kwargs))
    return "noted"


@task()
async def note_async(word: str) -> None:
    calls.append((word,))


@task(takes_context=True)
def note_attempt(context: TaskContext) -> None:
    calls.append((context.task_result.id, context.attempt))


class SubclassBackend(OutboxTaskBackend):
    pass


class Broken(Exception):
    pass


@task()
def fail(kind: str) -> None:
    calls.append((kind,))
    if kind == "reject":
        raise outbox.Reject("no such order")
    if kind == "unavailable":
        raise outbox.Unavailable("mailer")
    if kind == "broken":
        raise Broken("line one\nline two")
    raise ValueError("wrong")
