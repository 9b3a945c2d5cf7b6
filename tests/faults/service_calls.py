"""The functions that write: each with what it needs, to be called once.

A call of SERVICE_CALLS prepares the database and returns the function to call. `REPEATABLE`: a client or a task that
got no answer calls it again, and the end is the same.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

import outbox
from memories.conversations import erase, flush
from memories.conversations.append import append
from memories.conversations.turns import Post
from memories.erasure import repeat, run
from memories.erasure import request as erasure_request
from memories.filters import EVERYTHING
from memories.index import generations
from memories.indexing import repair
from memories.models import APIKey, Conversation, IdempotentAnswer, MemoryLog, MemoryVersion
from memories.records import bulk_deletion, expiry, history, idempotency, load, put, services
from memories.records.services import NewMemory
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.delivery import outcomes
from outbox.models import Event
from outbox.operations import dead_letters, epoch, prune, replay, scrub
from outbox.queue import circuits, lost
from outbox.queue.claim import Claim
from tests.support.published import NOTED, claim_all, expire_leases, publish, publish_all

Act = Callable[[], object]
OWNER = Tenant("alice", "web")

SERVICE_CALLS: dict[str, Callable[[], Act]] = {}
REPEATABLE: set[str] = set()
# They commit several times, and can go on after each.
IN_PARTS: set[str] = set()
# They delete versions on purpose.
FORGETTING: set[str] = set()


def call(
    *, repeatable: bool = False, in_parts: bool = False, forgets: bool = False
) -> Callable[[Callable[[], Act]], Callable[[], Act]]:
    def register(prepare: Callable[[], Act]) -> Callable[[], Act]:
        SERVICE_CALLS[prepare.__name__] = prepare
        if repeatable:
            REPEATABLE.add(prepare.__name__)
        if in_parts:
            IN_PARTS.add(prepare.__name__)
        if forgets:
            FORGETTING.add(prepare.__name__)
        return prepare

    return register


def memory(task: str = "Fix the login", **more: Any) -> NewMemory:
    return NewMemory(**OWNER._asdict(), task=task, agent="ada", **more)


def stored(number: int = 3, **more: Any) -> list[MemoryLog]:
    return services.create_memories(memory(f"Fix bug {n}", **more) for n in range(number))


@call()
def create_memory() -> Act:
    return lambda: services.create_memory(memory())


@call(repeatable=True)
def create_memory_under_a_key() -> Act:
    def write() -> idempotency.Answer:
        services.create_memory(memory(idempotency_key="key"))
        return idempotency.Answer(201, "{}", {})

    return lambda: idempotency.run_once(idempotency.IdempotentRequest(OWNER, "key", "same"), write)


# The expired memory is deleted first, with its own event.
@call(in_parts=True)
def create_memory_in_the_place_of_an_expired_one() -> Act:
    services.create_memory(memory(external_id="x", expires_at=timezone.now() - timedelta(days=1)))
    return lambda: services.create_memory(memory(external_id="x"))


@call()
def create_memories() -> Act:
    return lambda: stored(3)


@call(repeatable=True)
def update_memory() -> Act:
    (row,) = stored(1)
    return lambda: services.update_memory(row.id, {"task": "Bake bread"})


@call()
def delete_memory() -> Act:
    (row,) = stored(1)
    return lambda: services.delete_memory(row.id)


@call(repeatable=True)
def delete_memories() -> Act:
    ids = [row.id for row in stored()]
    return lambda: services.delete_memories(ids)


@call(repeatable=True)
def put_memories() -> Act:
    services.create_memory(memory(external_id="old"))
    fields = {**OWNER._asdict(), "task": "Bake bread", "agent": "ada"}
    return lambda: put.put_memories([fields | {"external_id": name} for name in ("old", "new")])


@call(repeatable=True)
def load_memories() -> Act:
    services.create_memory(memory(external_id="old"))
    fields = {**OWNER._asdict(), "task": "Bake bread", "agent": "ada"}
    lines = [
        load.Line(fields=fields | {"external_id": "old"}),
        load.Line(fields=fields, origin=load.Origin(id=7, created_at=timezone.now())),
    ]
    return lambda: load.load(lines)


@call(repeatable=True)
def purge_expired() -> Act:
    stored(expires_at=timezone.now() - timedelta(days=1))
    return expiry.purge


@call(repeatable=True, forgets=True)
def prune_history() -> Act:
    services.delete_memories([row.id for row in stored()])
    MemoryVersion.objects.update(pgh_created_at=timezone.now() - timedelta(days=100))
    return history.prune


@call(repeatable=True)
def forget_expired_answers() -> Act:
    answer = {
        **OWNER._asdict(),
        "key": "key",
        "fingerprint": "same",
        "status": 201,
        "body": "{}",
        "headers": {},
    }
    IdempotentAnswer.objects.create(**answer)
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(days=100))
    return idempotency.forget_expired


@call()
def request_bulk_deletion() -> Act:
    stored()
    return lambda: bulk_deletion.request(OWNER._asdict(), EVERYTHING, confirm=3)


@call()
def delete_page() -> Act:
    stored()
    deletion = bulk_deletion.request(OWNER._asdict(), EVERYTHING, confirm=3)
    return lambda: bulk_deletion.delete_page(deletion.pk)


def said(*contents: str, name: str = "chat") -> None:
    turns = tuple({"role": "user", "content": content} for content in contents)
    append(Post(tenant=OWNER, conversation_id=name, turns=turns))


@call(repeatable=True)
def append_turns() -> Act:
    said("one")
    post = Post(tenant=OWNER, conversation_id="chat", turns=({"role": "user", "content": "two"},), key="key")
    return lambda: append(post)


@call(repeatable=True)
def flush_conversations() -> Act:
    for name in ("one", "two"):
        said("hello", "again", name=name)
    return lambda: flush.flush(idle=timedelta())


@call(repeatable=True)
def flush_a_conversation_that_grew() -> Act:
    said("one")
    flush.flush(idle=timedelta())
    said("two")
    return lambda: flush.flush(idle=timedelta())


@call()
def close_conversation() -> Act:
    said("one")
    row = Conversation.objects.get()
    return lambda: flush.close(row)


@call()
def delete_conversation() -> Act:
    said("one")
    flush.flush(idle=timedelta())
    said("two")
    row = Conversation.objects.get()
    return lambda: erase.delete(row)


@call()
def request_erasure() -> Act:
    stored()
    return lambda: erasure_request.request(user_id=OWNER.user_id, requested_by="a test")


@call(in_parts=True, forgets=True)
def erase_in_postgres() -> Act:
    stored()
    said("one")
    erasure = erasure_request.request(user_id=OWNER.user_id, requested_by="a test")
    return lambda: run.in_postgres(erasure.pk)


@call(repeatable=True)
def repeat_erasures() -> Act:
    erasure_request.request(user_id=OWNER.user_id, requested_by="a test")
    kept = repeat.receipts()
    kept[0]["requested_at"] -= timedelta(days=1)
    return lambda: repeat.repeat(kept)


@call()
def create_key() -> Act:
    return lambda: APIKey.objects.create_key(name="laptop", user_id=OWNER.user_id)


@call(repeatable=True)
def revoke_key() -> Act:
    row, _ = APIKey.objects.create_key(name="laptop", user_id=OWNER.user_id)
    return lambda: APIKey.objects.filter(pk=row.pk).update(revoked=True)


@call(repeatable=True)
def begin_a_generation() -> Act:
    return lambda: generations.get_or_create([OWNER])


@call()
def request_a_check_of_the_index() -> Act:
    return lambda: repair.request_check()


@call()
def publish_with_a_change() -> Act:
    def change() -> None:
        with transaction.atomic():
            APIKey.objects.create_key(name="laptop", user_id=OWNER.user_id)
            outbox.publish(NOTED, aggregate=("thing", 1), payload={})
            outbox.publish(NOTED, aggregate=("thing", 2), payload={})

    return change


@call()
def record_an_event() -> Act:
    return lambda: outbox.record("test.recorded", aggregate=("thing", 1), payload={})


@call()
def claim_events() -> Act:
    publish_all(NOTED, range(3))
    return claim_all


def claimed(number: int = 3) -> Claim:
    publish_all(NOTED, [*range(number), 0])  # one waits behind another
    return claim_all()


def ids(claim: Claim) -> list[int]:
    return [row.id for row in claim.rows]


@call(repeatable=True)
def settle_as_delivered() -> Act:
    claim = claimed()
    return lambda: outcomes.delivered(claim.token, ids(claim))


@call(repeatable=True)
def settle_as_failed() -> Act:
    claim = claimed()
    return lambda: outcomes.failed(claim.token, ids(claim), ValueError("no"))


@call(repeatable=True)
def settle_as_dead() -> Act:
    claim = claimed()
    return lambda: outcomes.failed(claim.token, ids(claim), ValueError("no"), final=True)


@call(repeatable=True)
def return_events() -> Act:
    claim = claimed()
    return lambda: outcomes.returned(claim.token, ids(claim))


@call(repeatable=True)
def return_half_a_batch() -> Act:
    claim = claimed()
    return lambda: outcomes.halved(claim.token, ids(claim), SystemExit())


@call(repeatable=True)
def reclaim_expired() -> Act:
    claimed()
    expire_leases()
    return lost.reclaim_expired


@call(repeatable=True)
def reclaim_from_a_dead_worker() -> Act:
    claim = claimed()
    return lambda: lost.reclaim_from_worker(claim.token, ids(claim))


def dead(number: int = 3) -> Any:
    claim = claimed(number)
    outcomes.failed(claim.token, ids(claim), ValueError("no"), final=True)
    return Event.objects.filter(status="dead")


@call(repeatable=True)
def retry_dead_letters() -> Act:
    events = dead()
    return lambda: dead_letters.retry(events=events, by="a test")


@call(repeatable=True)
def discard_dead_letters() -> Act:
    events = dead()
    return lambda: dead_letters.discard(events=events, by="a test", reason="no use")


@call()
def replay_events() -> Act:
    claim = claimed()
    outcomes.delivered(claim.token, ids(claim))
    return lambda: replay.replay(events=Event.objects.filter(status="delivered"))


@call(repeatable=True)
def prune_events() -> Act:
    claim = claimed()
    outcomes.delivered(claim.token, ids(claim))
    Event.objects.filter(status="delivered").update(delivered_at=timezone.now() - timedelta(days=100))
    return prune.prune


@call(repeatable=True)
def scrub_events() -> Act:
    events = [publish(secret="word") for _ in range(3)]
    return lambda: scrub.scrub([event.id for event in events], keep=["id"], value=1)


@call()
def begin_an_epoch() -> Act:
    claimed()
    return epoch.begin_epoch


@call(repeatable=True)
def open_a_circuit() -> Act:
    return lambda: circuits.open_circuit(Unavailable("oven", "it is cold"))


@call(repeatable=True)
def close_a_circuit() -> Act:
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    return lambda: circuits.close_circuit("oven")


@call(repeatable=True)
def hold_a_dependency() -> Act:
    return lambda: circuits.hold("oven", pause=timedelta(hours=1), reason="cleaning")


@call(repeatable=True, in_parts=True)
def release_a_dependency() -> Act:
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    circuits.hold("oven", pause=timedelta(hours=1), reason="cleaning")
    return lambda: circuits.release("oven")
