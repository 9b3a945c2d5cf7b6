"""Claimed events as tasks of django-q2, which carry them to a worker."""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import DatabaseError, InterfaceError, connection
from django.dispatch import receiver
from django.utils import timezone
from django_q.conf import Conf as ClusterConf
from django_q.signals import post_execute_in_worker, post_spawn

from outbox.cluster import allowed_tasks, task_owners, workers
from outbox.conf import conf
from outbox.delivery import outcomes
from outbox.delivery.deliver import deliver
from outbox.delivery.units import ordered
from outbox.events import ClaimedEvent, ClaimedRow, Unreadable
from outbox.exceptions import kind_and_place
from outbox.queue.claim import Claim
from outbox.registry import handler_of

logger = logging.getLogger(__name__)

# Fewer events of a batch handler are not split among workers, because each part costs the handler as many statements
# and calls as the whole.
SMALLEST_SPLIT = 64

Package = dict[str, Any]


def make_tasks(claim: Claim, *, probing: Collection[str] = ()) -> Iterator[tuple[None, Package]]:
    """Divide the fresh events among the workers. Each retry and each group of suspects is a task of its own.

    `probing`: the dependencies that the claim's event probes.
    """
    fresh = claim.fresh
    batch_types = {type for type in {row.type for row in fresh} if _is_batched(type)}
    batched = [row for row in fresh if row.type in batch_types]
    single = [row for row in fresh if row.type not in batch_types]
    retries = ([row] for row in claim.retries)
    for rows in (*_divide(batched, SMALLEST_SPLIT), *_divide(single, 1), *retries):
        yield _task(claim, rows, probing=probing)
    for rows in _suspect_groups(claim.suspects):
        yield _task(claim, rows, probing=probing, suspects=True)


def _suspect_groups(rows: list[ClaimedRow]) -> Iterator[list[ClaimedRow]]:
    """Groups of one type, none larger than the batch limit of any of its events."""
    group: list[ClaimedRow] = []
    for row in sorted(rows, key=lambda row: (row.type, row.batch_limit or 0)):
        # The rows are sorted by their limit, so the first one of a group has the smallest.
        if group and (row.type != group[0].type or len(group) >= (group[0].batch_limit or 1)):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _is_batched(type: str) -> bool:
    handler = handler_of(type)
    return handler is not None and handler.batch


def _divide(rows: list[ClaimedRow], smallest: int) -> Iterator[list[ClaimedRow]]:
    """One part for each worker, from `smallest` to OUTBOX_BATCH_SIZE rows each."""
    size = min(conf.BATCH_SIZE, max(smallest, -(-len(rows) // ClusterConf.WORKERS)))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _task(claim: Claim, rows: list[ClaimedRow], **options: Any) -> tuple[None, Package]:
    rows = ordered(rows)
    owners = task_owners.shared()
    ids, dangerous = [row.id for row in rows], rows[0].batch_limit == 1
    begin_before = time.monotonic() + conf.LEASE_SECONDS - (ClusterConf.TIMEOUT or 0)
    package = {
        "id": uuid4().hex,
        "name": _label(rows),
        "func": run,
        "args": (claim.token, rows),
        "kwargs": {
            "number": owners.assign(claim.token, ids, dangerous=dangerous) if owners else None,
            "begin_before": begin_before,
            **options,
        },
        "started": timezone.now(),
        # django-q2 need not record it: the event rows say more.
        "save": False,
    }
    # No id to acknowledge, because the delivery settles the events itself.
    return None, package


def _label(rows: list[ClaimedRow]) -> str:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{rows[0].type} #{rows[0].id}{more}"


class NotSettled(Exception):
    """The outcome of some events is not recorded. They are delivered again when their claim ends."""


def run(token: UUID, rows: list[ClaimedRow], *, number: int | None, **options: Any) -> None:
    """The function of the task. A worker runs it.

    `number`: the task's number in `task_owners`; None outside of a cluster. Raises NotSettled.
    """
    try:
        _run(token, rows, number=number, **options)
    except Exception as error:
        # django-q2 logs and stores the texts of this error and of those before it, and they may quote the events.
        raise NotSettled(kind_and_place(error)) from None


def _run(token: UUID, rows: list[ClaimedRow], *, number: int | None, **options: Any) -> None:
    owners = task_owners.shared()
    if owners is None or number is None:
        _deliver(token, rows, on_unit=lambda start, size: None, **options)
        return
    try:
        with owners.running(number) as mine:
            if mine:
                _deliver(token, rows, on_unit=partial(_note_unit, owners, number, rows), **options)
    finally:
        if options.get("suspects"):
            # The relay may claim the next ones.
            owners.bell.ring()


def _note_unit(
    owners: task_owners.TaskOwners, number: int, rows: list[ClaimedRow], start: int, size: int
) -> None:
    """Note in the cluster's shared memory which events of the task the worker handles now."""
    owners.begin_unit(number, start, size)
    if size and (known := workers.shared()):
        known.begin(_label(rows[start : start + size]))


def _deliver(
    token: UUID, rows: list[ClaimedRow], *, on_unit: Callable[[int, int], object], **options: Any
) -> None:
    """Deliver the events that can be read. Those that cannot are dead at once."""
    places: list[int] = []
    events: list[ClaimedEvent] = []
    for place, row in enumerate(rows):
        try:
            events.append(row.event())
            places.append(place)
        except Unreadable as error:
            logger.warning("%s #%d is dead: %s", row.type, row.id, error)
            outcomes.failed(token, [row.id], error, final=True)

    def on_unit_of_rows(start: int, size: int) -> None:
        # The events of a unit lie together, but an event that cannot be read may lie between them.
        last = places[start + max(size, 1) - 1]
        on_unit(places[start], last - places[start] + 1 if size else 0)

    if events:
        deliver(token, events, on_unit=on_unit_of_rows, **options)


allowed_tasks.allow(run)


@receiver(post_spawn, dispatch_uid="outbox_relay_tasks")
def _connect(**_: Any) -> None:
    """Connect a new worker to the database before it takes a task, which other workers take meanwhile."""
    with suppress(DatabaseError, InterfaceError):
        connection.ensure_connection()


@receiver(post_execute_in_worker, dispatch_uid="outbox_relay_tasks")
def _drop_events(task: Package, **_: Any) -> None:
    """Remove the events from the task's result: nobody reads them there, and the monitor would copy them.

    Of a task that failed the ids stay. The monitor stores it for ever, and nothing else removes words from there.
    """
    if task["func"] is run:
        task["args"] = () if task["success"] else tuple(row.id for row in task["args"][1])
