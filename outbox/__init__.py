"""A transactional outbox for Django on PostgreSQL, delivered by a django-q2 cluster.

from django.db import transaction
import outbox

with transaction.atomic():
    order.save()
    outbox.publish("order.placed", aggregate=("order", order.pk), payload={"total": 12})

@outbox.handler("order.placed", needs=["mailer"])      # in the handlers.py of an installed app
def send_receipt(event): ...
"""

from typing import TYPE_CHECKING, Any

from outbox.events import BULK, INTERACTIVE, ClaimedEvent, NewEvent, RowEvent
from outbox.exceptions import BacklogTooDeep, NotInTransaction, Reject, Unavailable, UnknownEventType
from outbox.operations.progress import Progress, progress
from outbox.registry import declare, handler

if TYPE_CHECKING:
    from outbox.publishing.background import record_soon
    from outbox.publishing.derived import publish_derived
    from outbox.publishing.publish import publish, publish_many, publish_with
    from outbox.publishing.record import record

__all__ = [
    "BULK",
    "INTERACTIVE",
    "BacklogTooDeep",
    "ClaimedEvent",
    "NewEvent",
    "NotInTransaction",
    "Progress",
    "Reject",
    "RowEvent",
    "Unavailable",
    "UnknownEventType",
    "declare",
    "handler",
    "progress",
    "publish",
    "publish_derived",
    "publish_many",
    "publish_with",
    "record",
    "record_soon",
]


def __getattr__(name: str) -> Any:
    # These import the models, which Django allows only after it has loaded the apps.
    if name in ("publish", "publish_many", "publish_with"):
        from outbox.publishing import publish as module

        return getattr(module, name)
    if name == "record":
        from outbox.publishing.record import record

        return record
    if name == "publish_derived":
        from outbox.publishing.derived import publish_derived

        return publish_derived
    if name == "record_soon":
        from outbox.publishing.background import record_soon

        return record_soon
    raise AttributeError(f"module 'outbox' has no attribute {name!r}")
