"""How claimed events travel to a worker: as tasks of django-q2."""

import pickle
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone
from django_q.conf import Conf as ClusterConf
from django_q.signing import SignedPackage

from outbox.claiming import ID, TYPE, Claim, Row, events_of
from outbox.conf import conf
from outbox.delivery import deliver


def tasks(claim: Claim, *, probing: str = "") -> Iterator[tuple[None, str]]:
    """The fresh events shared out among the workers; each tried before as a task of its own, for it may be the
    one that kills its worker."""
    fresh = claim.fresh
    size = min(conf.BATCH_SIZE, -(-len(fresh) // ClusterConf.WORKERS)) or 1
    for start in range(0, len(fresh), size):
        yield _task(claim, fresh[start : start + size], probing)
    for row in claim.again:
        yield _task(claim, [row], probing)


def _task(claim: Claim, rows: list[Row], probing: str) -> tuple[None, str]:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    begin_before = time.monotonic() + conf.LEASE_SECONDS - (ClusterConf.TIMEOUT or 0)
    package = {
        "id": uuid4().hex,
        "name": f"{rows[0][TYPE]} #{rows[0][ID]}{more}",
        "func": unpack,
        "args": (claim.token, pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)),
        "kwargs": {"begin_before": begin_before, "probing": probing},
        "started": timezone.now(),
        # The outbox' own rows tell more.
        "save": False,
    }
    # No id to acknowledge: the outbox settles by itself.
    return None, SignedPackage.dumps(package)


def unpack(token: UUID, rows: bytes, **options: Any) -> None:
    """What a worker runs. The rows are written once and read once, here: django-q2 writes and reads a task's
    arguments three times on their way (its signature, the workers' queue, that of the results)."""
    deliver(token, events_of(pickle.loads(rows)), **options)
