"""Claimed events as tasks of django-q2, which carry them to a worker."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from django.dispatch import receiver
from django.utils import timezone
from django_q.conf import Conf as ClusterConf
from django_q.signals import post_execute_in_worker

from outbox.cluster import allowed_tasks, task_owners
from outbox.conf import conf
from outbox.delivery.deliver import deliver
from outbox.events import ClaimedRow
from outbox.queue.claim import Claim
from outbox.registry import handler_of

# Fewer events of a batch handler are not split among workers, because each part costs the handler as many statements
# and calls as the whole.
SMALLEST_SPLIT = 64

Package = dict[str, Any]


def make_tasks(claim: Claim, *, probing: str = "") -> Iterator[tuple[None, Package]]:
    """Divide the fresh events among the workers. Each retry is a task of its own, since it may kill its worker.

    `probing`: the dependency that the claim's events probe.
    """
    fresh = claim.fresh
    batch_types = {type for type in {row.type for row in fresh} if _is_batched(type)}
    batched = [row for row in fresh if row.type in batch_types]
    single = [row for row in fresh if row.type not in batch_types]
    retries = ([row] for row in claim.retries)
    for rows in (*_divide(batched, SMALLEST_SPLIT), *_divide(single, 1), *retries):
        yield _task(claim, rows, probing)


def _is_batched(type: str) -> bool:
    handler = handler_of(type)
    return handler is not None and handler.batch


def _divide(rows: list[ClaimedRow], smallest: int) -> Iterator[list[ClaimedRow]]:
    """One part for each worker, from `smallest` to OUTBOX_BATCH_SIZE rows each."""
    size = min(conf.BATCH_SIZE, max(smallest, -(-len(rows) // ClusterConf.WORKERS)))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _task(claim: Claim, rows: list[ClaimedRow], probing: str) -> tuple[None, Package]:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    begin_before = time.monotonic() + conf.LEASE_SECONDS - (ClusterConf.TIMEOUT or 0)
    package = {
        "id": uuid4().hex,
        "name": f"{rows[0].type} #{rows[0].id}{more}",
        "func": run,
        "args": (claim.token, rows),
        "kwargs": {
            "number": task_owners.assign(claim.token, [row.id for row in rows]),
            "begin_before": begin_before,
            "probing": probing,
        },
        "started": timezone.now(),
        # django-q2 need not record it: the event rows say more.
        "save": False,
    }
    # No id to acknowledge, because the delivery settles the events itself.
    return None, package


def run(token: UUID, rows: list[ClaimedRow], *, number: int, **options: Any) -> None:
    """The function of the task. A worker runs it. `number`: the task's number in `task_owners`."""
    with task_owners.running(number):
        deliver(token, [row.event() for row in rows], **options)


allowed_tasks.allow(run)


@receiver(post_execute_in_worker, dispatch_uid="outbox_relay_tasks")
def _drop_events(task: Package, **_: Any) -> None:
    """Remove the events from the task's result: nobody reads them there, and the monitor would copy them."""
    if task["func"] is run and task["success"]:
        task["args"] = ()
