"""An erasure whose worker dies at any statement or call: the next worker finishes and verifies it."""

import pytest

from memories.conversations import flush
from memories.conversations.append import append
from memories.conversations.turns import Post
from memories.erasure.request import request
from memories.models import BulkDeletion, Conversation, Erasure, IdempotentAnswer
from memories.records.services import NewMemory, create_memories, delete_memory
from memories.tenants import Tenant
from outbox.delivery.deliver import deliver
from outbox.queue.claim import claim
from outbox.registry import handled_types
from outbox.testing import drain
from tests.support.indexed import collection_of
from tests.support.keys import new_key
from tests.support.leftovers import rows_with
from tests.support.published import free_events_of_lost_workers
from tests.support.tenants import new_tenant
from tests.support.workers import Worker, watch_chroma

pytestmark = pytest.mark.django_db(transaction=True)

WORD = "xylophone7431"


def fill(tenant: Tenant) -> None:
    """Something for each step: memories, a deleted one, conversations, an answer, a deletion that hangs, an API key."""
    new = (NewMemory(**tenant._asdict(), task=f"{WORD} {n}", agent="ada") for n in range(3))
    rows = create_memories(new)
    delete_memory(rows[0].id)
    IdempotentAnswer.objects.create(
        **tenant._asdict(), key="once", fingerprint="f", status=201, body=f'"{WORD}"', memory_id=rows[1].id
    )
    BulkDeletion.objects.create(
        **tenant._asdict(), filters={"task": WORD}, through_id=0, total=0, status=BulkDeletion.Status.RUNNING
    )
    new_key(*tenant)
    for conversation in ("saved", "waiting"):
        turns = ({"role": "user", "content": WORD},)
        append(Post(tenant=tenant, conversation_id=conversation, turns=turns))
    flush.close(Conversation.objects.get(conversation_id="saved", user_id=tenant.user_id))
    drain()


def deliver_erasures() -> None:
    """As a cluster does, until nothing is left to deliver."""
    while (claimed := claim(handled_types(), batch=100, retries=100)).rows:
        deliver(claimed.token, [row.event() for row in claimed.rows])


def test_wherever_a_worker_dies_the_erasure_ends_verified() -> None:
    watch_chroma()
    # A statement has two boundaries and an odd stride meets both. Each iteration takes half a second.
    for boundary in range(1, 1000, 9):
        tenant = new_tenant()
        fill(tenant)
        erasure = request(user_id=tenant.user_id, api_keys=True, requested_by="a test")

        worker = Worker(deliver_erasures, pause_at=boundary, in_transactions=True)
        if not worker.paused:
            break
        worker.kill()
        free_events_of_lost_workers()
        drain()

        erasure.refresh_from_db()
        assert (erasure.status, erasure.verified) == (Erasure.Status.DONE, True)
        counts = erasure.counts["postgresql"]
        names = ("memories", "idempotent_answers", "filters_of_deletions", "api_keys")
        assert [counts[name] for name in names] == [3, 1, 1, 1]
        assert rows_with(WORD) == []
        assert collection_of(tenant).count() == 0
    assert boundary > 100
    assert worker.error is None
