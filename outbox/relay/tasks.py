"""How claimed events travel to a worker: as tasks of django-q2."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from django.dispatch import receiver
from django.utils import timezone
from django_q.conf import Conf as ClusterConf
from django_q.signals import post_execute_in_worker

from outbox.cluster import task_owners
from outbox.conf import conf
from outbox.delivery.deliver import deliver
from outbox.queue.claim import ID, TYPE, Claim, Row, events_of
from outbox.registry import handler_of

# Fewer events that are handled together are left together: each part of them costs what the whole does, the statements
# and calls of its handler.
TOGETHER = 64

Package = dict[str, Any]


def make_tasks(claim: Claim, *, probing: str = "") -> Iterator[tuple[None, Package]]:
    """The fresh events shared out among the workers; each tried before as a task of its own, for it may be the
    one that kills its worker."""
    fresh = claim.fresh
    together = {type for type in {row[TYPE] for row in fresh} if _is_batched(type)}
    batched = [row for row in fresh if row[TYPE] in together]
    single = [row for row in fresh if row[TYPE] not in together]
    for rows in (*_shared_out(batched, TOGETHER), *_shared_out(single, 1), *([row] for row in claim.again)):
        yield _task(claim, rows, probing)


def _is_batched(type: str) -> bool:
    handler = handler_of(type)
    return handler is not None and handler.batch


def _shared_out(rows: list[Row], least: int) -> Iterator[list[Row]]:
    size = min(conf.BATCH_SIZE, max(least, -(-len(rows) // ClusterConf.WORKERS)))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _task(claim: Claim, rows: list[Row], probing: str) -> tuple[None, Package]:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    begin_before = time.monotonic() + conf.LEASE_SECONDS - (ClusterConf.TIMEOUT or 0)
    package = {
        "id": uuid4().hex,
        "name": f"{rows[0][TYPE]} #{rows[0][ID]}{more}",
        "func": unpack,
        "args": (claim.token, rows),
        "kwargs": {
            "number": task_owners.assign(claim.token, [row[ID] for row in rows]),
            "begin_before": begin_before,
            "probing": probing,
        },
        "started": timezone.now(),
        # The outbox' own rows tell more.
        "save": False,
    }
    # No id to acknowledge: the outbox settles by itself.
    return None, package


def unpack(token: UUID, rows: list[Row], *, number: int, **options: Any) -> None:
    """What a worker runs."""
    with task_owners.running(number):
        deliver(token, events_of(rows), **options)


@receiver(post_execute_in_worker, dispatch_uid="outbox_relay_tasks")
def _forget(task: Package, **_: Any) -> None:
    """The events go no further with the result of a task: nobody reads them there."""
    if task["func"] is unpack and task["success"]:
        task["args"] = ()
