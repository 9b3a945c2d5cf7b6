"""Points at which a process of a cluster kills itself. An experiment arms a point with a file; one process takes it.

The points use what the project offers anyway: signals, statements, hooks of the HTTP client, another embedder. So the
code under test knows nothing of them.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from django.apps import AppConfig
from django.db.backends.signals import connection_created

from memories.embeddings.backend import Vectors
from memories.embeddings.static import StaticBackend
from tests.faults.names import KILL_POINTS

AFTER_CLAIM = "after the claim"
BEFORE_BEGIN = "before a task is begun"
WHILE_EMBEDDING = "while embedding"
AFTER_CHROMA_WRITE = "after the write to Chroma"
BEFORE_SETTLE = "before settling"
AMID_FLUSH = "amid a flush"
AFTER_FLUSH = "after the flush's commit"
POINTS = (
    AFTER_CLAIM,
    BEFORE_BEGIN,
    WHILE_EMBEDDING,
    AFTER_CHROMA_WRITE,
    BEFORE_SETTLE,
    AMID_FLUSH,
    AFTER_FLUSH,
)
# As a provider would, so that events are in hand for a while.
SECONDS_A_TEXT = 0.002

CHUNKS = 'INSERT INTO "conversation_chunks"'


def arm(folder: Path, point: str) -> None:
    """Have the next process that reaches the point kill itself."""
    (folder / point).touch()


def disarm(folder: Path, point: str) -> None:
    (folder / point).unlink(missing_ok=True)


def killed_at(folder: Path, point: str) -> tuple[int, int] | None:
    """The pids of the process that killed itself there and of its parent; None while there is none. Asks once."""
    for found in folder.glob(f"{point}, *"):
        _point, pid, parent = found.name.rsplit(", ", 2)
        found.unlink()
        return int(pid), int(parent)
    return None


def reach(point: str) -> None:
    folder = Path(os.environ[KILL_POINTS])
    with suppress(FileNotFoundError):  # not armed, or another process was first
        (folder / point).rename(folder / f"{point}, {os.getpid()}, {os.getppid()}")
        os.kill(os.getpid(), signal.SIGKILL)


class KillPoints(AppConfig):
    name = "tests.faults"

    def ready(self) -> None:
        from django_q.signals import pre_execute

        from memories.index import client
        from outbox.signals import claimed

        class Session(client.Session):
            def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
                response = super().send(request, **options)
                if request.url.path.endswith("/upsert"):
                    reach(AFTER_CHROMA_WRITE)
                return response

        claimed.connect(_claimed)
        pre_execute.connect(_took_a_task)
        connection_created.connect(_connected)
        client.Session = Session  # type: ignore[misc]


def _claimed(**_about: Any) -> None:
    reach(AFTER_CLAIM)


def _took_a_task(task: dict[str, Any], **_about: Any) -> None:
    from outbox.relay import tasks

    if task["func"] is tasks.run:
        reach(BEFORE_BEGIN)


def _connected(*, connection: Any, **_about: Any) -> None:
    if _statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_statement)


def _statement(execute: Callable[..., Any], sql: Any, *arguments: Any) -> Any:
    from memories.conversations.buffers.redis import RELEASE
    from outbox.delivery.outcomes import DELIVERED

    if sql == DELIVERED:
        reach(BEFORE_SETTLE)
    elif sql == RELEASE:
        reach(AFTER_FLUSH)
    elif isinstance(sql, str) and sql.startswith(CHUNKS):
        reach(AMID_FLUSH)
    return execute(sql, *arguments)


class Embedder(StaticBackend):
    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = super().embed_documents(texts)
        time.sleep(SECONDS_A_TEXT * len(texts))
        reach(WHILE_EMBEDDING)
        return vectors
