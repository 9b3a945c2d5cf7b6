"""Erasure: what was stored before is gone from every store, what came later stays, and the receipt says so."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.models import F
from pytest_django.fixtures import Settings

from memories.conversations import flush
from memories.conversations.buffers.redis import key_of
from memories.erasure import index, run, steps
from memories.erasure.request import request
from memories.index import collections, generations, orphans
from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.indexing.fill import fill as fill_collections
from memories.indexing.fill import publish_fill
from memories.models import (
    APIKey,
    BulkDeletion,
    Conversation,
    Erasure,
    Generation,
    IdempotentAnswer,
    MemoryLog,
    MemoryVersion,
)
from memories.records.load import Line, Origin
from memories.records.load import load as load_memories
from outbox.delivery import outcomes
from outbox.models import Event, Failure, Status
from outbox.operations import pauses
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.events import answer
from tests.support.events import run as run_command
from tests.support.failing_embedder import REFUSED, FailingEmbedder
from tests.support.indexed import collection_of
from tests.support.keys import client_with, new_key
from tests.support.leftovers import rows_with
from tests.support.parallel import in_parallel
from tests.support.published import claim_all, ids
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)

WORD = "xylophone7431"


def erase(actor: Actor, **more: Any) -> dict[str, Any]:
    """Request an erasure, have it carried out, and return the receipt."""
    asked = actor.send("POST", "/erasures", {"user_id": actor.tenant.user_id} | more)
    assert asked.status_code == 202, asked.content
    assert asked.json()["status"] == "pending"
    drain()
    receipt: dict[str, Any] = actor.get(asked["Location"]).json()
    return receipt


def documents(actor: Actor) -> Any:
    generation = generations.of_tenant(actor.tenant).active
    assert generation is not None
    return with_collection(generation, lambda collection: collection.get(include=["documents", "metadatas"]))


def say(actor: Actor, conversation: str, content: str) -> None:
    turn = actor.tenant._asdict() | {"role": "user", "content": content}
    assert actor.send("POST", f"/conversations/{conversation}/turns", turn).status_code == 202


def fill(actor: Actor) -> None:
    """The word goes in through every door: task, keys, values, tags, a change, a deletion, turns, a key, a failure."""
    body = actor.memory(task=f"Tune the {WORD}", raw_data={WORD: WORD, "tags": [WORD], "deep": [{"x": WORD}]})
    with_key = actor.send("POST", "/memory-logs", body, **{"Idempotency-Key": "once"})
    changed = actor.remember(task=f"first {WORD}")
    actor.send("PATCH", f"/memory-logs/{changed['id']}", {"task": "second"})
    deleted = actor.remember(task=f"deleted {WORD}")
    actor.send("DELETE", f"/memory-logs/{deleted['id']}")
    say(actor, "saved", f"play the {WORD}")
    flush.close(Conversation.objects.get(conversation_id="saved", user_id=actor.tenant.user_id))
    say(actor, "waiting", f"the {WORD} again")
    actor.send("DELETE", f'/memory-logs?confirm=0&filter={{"task": {{"contains": "{WORD} of nobody"}}}}')
    drain()
    event = Event.objects.filter(aggregateid=str(with_key.json()["id"])).order_by("id")[0]
    Event.objects.filter(pk=event.pk).update(status=Status.DEAD, last_error=f"ValueError: {WORD}")
    Failure.objects.create(event=event, attempt=1, error=WORD, traceback=f"at {WORD}", worker="here:1")
    actor.send("POST", "/memory-logs/search", {**actor.tenant._asdict(), "query": WORD})


def test_everything_of_a_user_is_gone_from_every_store(cast: Cast) -> None:
    fill(cast.alice)
    assert rows_with(WORD) != []
    assert WORD in json.dumps(documents(cast.alice)["documents"])

    receipt = erase(cast.alice)

    assert (receipt["status"], receipt["verified"], receipt["found"]) == ("done", True, {})
    assert rows_with(WORD) == []
    assert documents(cast.alice)["ids"] == []
    counts = receipt["counts"]
    assert counts["postgresql"]["memories"] == 3
    assert counts["postgresql"]["conversations"] == 2
    assert counts["postgresql"]["buffered_turns"] == 1
    assert counts["postgresql"]["idempotent_answers"] == 1
    assert counts["outbox"]["failures"] == 1
    assert counts["chroma"]["documents"] == 3


def test_an_erasure_goes_on_in_shares_with_pauses(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event has time for more than one page, and none is due at once after another."""
    for number in range(5):
        cast.alice.remember(task=f"{WORD} {number}")
    drain()
    monkeypatch.setattr(steps, "PAGE", 2)
    monkeypatch.setattr(steps, "EVENTS", 10)
    monkeypatch.setattr(collections, "DROP_PAGE", 2)
    monkeypatch.setattr(run, "SHARE_SECONDS", 0.0)
    asked = cast.alice.send("POST", "/erasures", {"user_id": cast.alice.tenant.user_id})

    drain(rounds=1_000, through_backoff=True)

    receipt = cast.alice.get(asked["Location"]).json()
    assert (receipt["status"], receipt["counts"]["postgresql"]["memories"]) == ("done", 5), receipt
    assert receipt["counts"]["chroma"]["documents"] == 5
    assert rows_with(WORD) == []
    shares = Event.objects.filter(aggregatetype="erasure")
    assert shares.filter(type="erasure.requested").count() > 5
    # Three to empty the collection, and several to ask all events again.
    assert shares.filter(type="erasure.index").count() > 5
    assert shares.filter(available_at__gt=F("created_at")).count() > 5


def test_an_erasure_spends_no_time_on_ids_whose_events_were_pruned(cast: Cast) -> None:
    cast.alice.remember(task=WORD)
    drain()
    stored = Event.objects.filter(type="memory_log.stored").latest("id")
    stored.pk = 10**15
    stored.save(force_insert=True)

    receipt = erase(cast.alice)

    assert (receipt["status"], receipt["verified"]) == ("done", True)
    assert rows_with(WORD) == []


def test_a_bulk_deletion_that_never_ended_keeps_no_filter(cast: Cast) -> None:
    stays = cast.bob.remember(task=WORD)
    cast.alice.remember(task=WORD)
    asked = cast.alice.send("DELETE", f"/memory-logs?task={WORD}&confirm=1").json()
    Event.objects.filter(type="bulk_deletion.requested").update(status=Status.DEAD)

    erase(cast.alice)

    assert BulkDeletion.objects.get(pk=asked["id"]).filters == {}
    assert [WORD in row for row in rows_with(WORD) if row.startswith("memory_logs:")] == [True]
    assert cast.bob.get(f"/memory-logs/{stays['id']}").status_code == 200


def test_a_collection_that_was_replaced_before_is_erased_as_well(cast: Cast) -> None:
    """The event that deletes it may still wait. Nothing finds its documents, but they are there."""
    cast.alice.remember(task=WORD)
    drain()
    fill_collections([generations.begin(cast.alice.tenant)])
    [former] = Generation.objects.filter(**cast.alice.tenant._asdict(), state=Generation.State.RETIRED)
    assert collections.count(former.collection) == 1
    erasure = request(user_id=cast.alice.tenant.user_id, requested_by="a test")

    run.run_steps(erasure.pk)
    run.finish(erasure.pk)

    erasure.refresh_from_db()
    assert erasure.verified
    assert former.collection not in collections.collection_names()


def test_a_collection_that_a_running_erasure_removes_is_left_to_it(cast: Cast) -> None:
    """Two at once would delete each document twice, and without a pause."""
    cast.alice.remember(task=WORD)
    drain()
    erasure = request(user_id=cast.alice.tenant.user_id, requested_by="a test")
    run.run_steps(erasure.pk)
    fill_collections([generations.begin(cast.alice.tenant)])
    [former] = Generation.objects.filter(**cast.alice.tenant._asdict(), state=Generation.State.RETIRED)

    for type in ("erasure.requested", "erasure.index"):
        pauses.pause_type(type, by="olga", reason="the test goes on with it")
    drain()
    assert former.collection in collections.collection_names()

    run.finish(erasure.pk)
    assert former.collection not in collections.collection_names()
    assert not Generation.objects.filter(pk=former.pk).exists()


def test_a_document_that_comes_back_during_an_erasure_is_removed_by_another_round(cast: Cast) -> None:
    """A worker was paused amid a write, and goes on after the collection was replaced."""
    memory_id = cast.alice.remember(task=WORD)["id"]
    drain()
    erasure = request(user_id=cast.alice.tenant.user_id, requested_by="a test")
    run.run_steps(erasure.pk)
    erasure.refresh_from_db()
    index.remove(erasure)
    [generation] = generations.of_tenant(cast.alice.tenant).all
    late = {
        "ids": [document_id(memory_id, cast.alice.tenant)],
        "embeddings": [[1.0] * generation.dimensions],
        "documents": [WORD],
    }
    with_collection(generation, lambda collection: collection.upsert(**late))

    run.finish(erasure.pk)
    erasure.refresh_from_db()
    assert (erasure.status, erasure.found) == ("running", {"chroma": 1})
    run.run_steps(erasure.pk)
    run.finish(erasure.pk)

    erasure.refresh_from_db()
    assert (erasure.status, erasure.verified) == ("done", True)
    assert documents(cast.alice)["ids"] == []


def test_a_collection_that_a_rebuild_replaces_meanwhile_goes_before_the_erasure_is_done(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast.alice.remember(task=WORD)
    drain()
    erasure = request(user_id=cast.alice.tenant.user_id, requested_by="a test")
    run.run_steps(erasure.pk)
    ask = steps.ask_events

    def replaced_before(erasure: Erasure, deadline: float) -> bool:
        fill_collections([generations.begin(cast.alice.tenant)])
        return ask(erasure, deadline)

    monkeypatch.setattr(steps, "ask_events", replaced_before)
    run.finish(erasure.pk)
    erasure.refresh_from_db()
    assert erasure.status == "running"
    monkeypatch.undo()
    run.finish(erasure.pk)

    erasure.refresh_from_db()
    assert (erasure.verified, erasure.rounds) == (True, 1)
    assert not Generation.objects.filter(
        **cast.alice.tenant._asdict(), state=Generation.State.RETIRED
    ).exists()


def test_a_collection_that_is_gone_while_the_erasure_asks_it_is_no_error(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another erasure has replaced and deleted it."""
    cast.alice.remember(task=WORD)
    drain()
    erasure = request(user_id=cast.alice.tenant.user_id, requested_by="a test")
    run.run_steps(erasure.pk)
    find = orphans.find

    def gone_before(asked: Generation) -> list[str]:
        fill_collections([generations.begin(cast.alice.tenant)])
        collections.drop(asked.collection)
        return find(asked)

    monkeypatch.setattr(orphans, "find", gone_before)
    run.finish(erasure.pk)
    erasure.refresh_from_db()
    assert erasure.status == "running"
    monkeypatch.undo()
    run.finish(erasure.pk)

    erasure.refresh_from_db()
    assert (erasure.verified, erasure.rounds) == (True, 1)


def test_a_collection_that_is_made_after_the_request_keeps_no_name_of_a_key(cast: Cast) -> None:
    """What waits in the outbox is indexed until the erasure has removed the memories, or a rebuild begins then."""
    cast.alice.remember(task="Tune it", raw_data={WORD: 1})
    erasure = request(user_id=cast.alice.tenant.user_id, requested_by="a test")
    for type in ("erasure.requested", "erasure.index"):
        pauses.pause_type(type, by="olga", reason="the test carries it out")
    drain()
    assert WORD in schema(cast.alice)

    run.run_steps(erasure.pk)
    run.finish(erasure.pk)

    erasure.refresh_from_db()
    assert erasure.verified
    assert WORD not in schema(cast.alice)


def schema(actor: Actor) -> str:
    """What Chroma knows of the keys of the tenant's metadata."""
    found = collection_of(actor.tenant).schema
    assert found is not None
    return json.dumps(found.serialize_to_json())


def test_the_planner_keeps_no_words_but_tags(cast: Cast) -> None:
    fill(cast.alice)
    fill(cast.charlie)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SELECT tablename FROM pg_stats s WHERE strpos(s::text, %s) > 0", [WORD])
        assert set(cursor.fetchall()) <= {("memory_logs_tags",)}


def test_the_receipt_names_no_words(cast: Cast) -> None:
    fill(cast.alice)

    receipt = erase(cast.alice)

    assert WORD not in json.dumps(receipt)
    assert Erasure.objects.get(pk=receipt["id"]).requested_by.startswith("API key ")


def test_what_others_stored_stays(cast: Cast) -> None:
    for actor in (cast.bob, cast.charlie):
        actor.remember(task="stays")
    cast.alice.remember(task="goes")
    drain()

    erase(cast.alice)

    assert set(MemoryLog.objects.values_list("user_id", "task")) == {
        (cast.bob.tenant.user_id, "stays"),
        (cast.charlie.tenant.user_id, "stays"),
    }
    assert documents(cast.bob)["ids"] != []


def test_what_comes_after_the_request_stays(cast: Cast) -> None:
    cast.alice.remember(task="before")
    drain()
    asked = cast.alice.send("POST", "/erasures", {"user_id": cast.alice.tenant.user_id})
    after = cast.alice.remember(task="after")
    drain()

    receipt = cast.alice.get(asked["Location"]).json()

    assert receipt["verified"]
    assert [memory["id"] for memory in cast.alice.get("/memory-logs").json()["results"]] == [after["id"]]
    assert Event.objects.filter(type="memory_log.stored", payload__task="after").exists()
    assert len(documents(cast.alice)["ids"]) == 1


def load(actor: Actor, task: str, created_at: datetime) -> None:
    """Load a memory from an export: it keeps the time at which another service stored it."""
    fields = actor.tenant._asdict() | {"task": task, "agent": "ada"}
    load_memories([Line(fields=fields, origin=Origin(created_at=created_at, updated_at=created_at))])
    drain()


def test_an_imported_memory_goes_however_late_it_was_created_elsewhere(cast: Cast) -> None:
    load(cast.alice, WORD, datetime(2199, 1, 1, tzinfo=UTC))

    receipt = erase(cast.alice)

    assert receipt["verified"]
    assert rows_with(WORD) == []


def test_an_import_after_the_request_stays_however_early_the_memory_was_created_elsewhere(cast: Cast) -> None:
    asked = cast.alice.send("POST", "/erasures", {"user_id": cast.alice.tenant.user_id})
    load(cast.alice, "stays", datetime(2001, 1, 1, tzinfo=UTC))

    receipt = cast.alice.get(asked["Location"]).json()

    assert receipt["verified"]
    assert MemoryLog.objects.get().task == "stays"
    assert answer("verify_index", "--user-id", cast.alice.tenant.user_id)["erased_back"] == []


def test_turns_that_are_saved_after_the_request_go(cast: Cast) -> None:
    say(cast.alice, "talk", WORD)
    asked = cast.alice.send("POST", "/erasures", {"user_id": cast.alice.tenant.user_id})
    flush.close(Conversation.objects.get(conversation_id="talk"))
    drain()

    assert cast.alice.get(asked["Location"]).json()["verified"]
    assert rows_with(WORD) == []


def test_a_later_answer_that_holds_an_earlier_memory_goes(cast: Cast) -> None:
    first = cast.alice.remember(task=WORD)
    drain()
    asked = cast.alice.send("POST", "/erasures", {"user_id": cast.alice.tenant.user_id})
    again = cast.alice.send(
        "POST", "/memory-logs?if_similar=skip", cast.alice.memory(task=WORD), **{"Idempotency-Key": "k"}
    )
    assert again.json()["id"] == first["id"]
    drain()

    assert cast.alice.get(asked["Location"]).json()["verified"]
    assert rows_with(WORD) == []


def test_only_the_named_memories_go_with_their_history(cast: Cast) -> None:
    goes, stays = cast.alice.remember(task=WORD), cast.alice.remember(task="stays")
    deleted = cast.alice.remember(task=f"{WORD} deleted")
    cast.alice.send("DELETE", f"/memory-logs/{deleted['id']}")
    drain()

    receipt = erase(cast.alice, memory_log_ids=[goes["id"], deleted["id"]])

    assert receipt["verified"]
    assert rows_with(WORD) == []
    assert cast.alice.get(f"/memory-logs/{stays['id']}").status_code == 200
    assert cast.alice.get(f"/memory-logs/{goes['id']}").status_code == 404
    assert cast.alice.get(f"/memory-logs/{deleted['id']}/history").status_code == 404
    assert len(documents(cast.alice)["ids"]) == 1


def test_a_named_conversation_goes_with_its_memories_and_the_turns_that_wait(cast: Cast) -> None:
    say(cast.alice, "goes", f"the {WORD}")
    flush.close(Conversation.objects.get(conversation_id="goes"))
    say(cast.alice, "goes", f"more {WORD}")
    say(cast.alice, "stays", "something else")
    drain()

    receipt = erase(cast.alice, conversation_ids=["goes"])

    assert receipt["verified"]
    assert rows_with(WORD) == []
    assert list(Conversation.objects.values_list("conversation_id", flat=True)) == ["stays"]


def test_a_named_conversation_that_was_deleted_before_goes_with_its_versions(cast: Cast) -> None:
    say(cast.alice, "goes", f"the {WORD}")
    flush.close(Conversation.objects.get(conversation_id="goes"))
    assert cast.alice.send("DELETE", "/conversations/goes").status_code == 204
    drain()

    receipt = erase(cast.alice, conversation_ids=["goes"])

    assert receipt["verified"]
    assert rows_with(WORD) == []


def test_a_conversation_that_begins_again_after_the_request_stays(cast: Cast) -> None:
    say(cast.alice, "talk", WORD)
    erasure = request(user_id=cast.alice.tenant.user_id, conversation_ids=["talk"], requested_by="a test")
    run.run_steps(erasure.pk)
    say(cast.alice, "talk", "another one")
    drain()

    erasure.refresh_from_db()
    assert (erasure.verified, erasure.rounds) == (True, 1)
    assert Conversation.objects.get().buffered.get().turn["content"] == "another one"


def test_what_a_worker_reports_after_the_erasure_holds_no_word(cast: Cast) -> None:
    """It began with the memory before: its error may quote it."""
    cast.alice.remember(task="plain")
    claimed = claim_all("memory_log.stored")
    assert erase(cast.alice)["verified"]

    outcomes.failed(claimed.token, ids(claimed), ValueError(f"no vector for {WORD}"))

    assert rows_with(WORD) == []
    assert Failure.objects.get().error == "erased"


def test_the_error_of_filling_a_collection_keeps_no_word(cast: Cast) -> None:
    cast.alice.remember()
    drain()
    generation = generations.of_tenant(cast.alice.tenant).write_target
    with transaction.atomic():
        publish_fill(generation)
    claimed = claim_all("index.fill")
    outcomes.failed(claimed.token, ids(claimed), ValueError(f"no vector for {WORD}"), final=True)
    assert rows_with(WORD) != []

    assert erase(cast.alice)["verified"]

    assert rows_with(WORD) == []


def test_a_memory_that_cannot_be_embedded_leaves_no_word_in_a_log(
    cast: Cast, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMBEDDING_BACKEND = f"{FailingEmbedder.__module__}.FailingEmbedder"
    cast.alice.remember(task=f"{WORD} {REFUSED}")
    generations.get_or_create([cast.alice.tenant])

    for command in ("rebuild_index", "backfill_embeddings"):
        with pytest.raises(CommandError, match=WORD):
            run_command(command, "--user-id", cast.alice.tenant.user_id)

    assert caplog.text.count("ValueError in embed_documents") == 2
    assert WORD not in caplog.text


def test_turns_in_redis_go(cast: Cast, redis_server: Any) -> None:
    say(cast.alice, "talk", f"the {WORD}")
    key = key_of(cast.alice.tenant, "talk")
    assert WORD in str(redis_server.client.hgetall(key))

    receipt = erase(cast.alice)

    assert receipt["verified"]
    assert receipt["counts"]["redis"]["conversations"] == 1
    assert not redis_server.client.exists(key)


def test_memories_of_another_tenant_are_not_erased_by_naming_them(cast: Cast) -> None:
    other = cast.charlie.remember(task="stays")
    drain()

    receipt = erase(cast.alice, memory_log_ids=[other["id"]])

    assert receipt["verified"]
    assert cast.charlie.get(f"/memory-logs/{other['id']}").status_code == 200
    assert len(documents(cast.charlie)["ids"]) == 1


def test_a_key_erases_only_what_it_opens(cast: Cast) -> None:
    stranger = {"user_id": cast.charlie.tenant.user_id}
    assert cast.alice.send("POST", "/erasures", stranger).status_code == 403
    assert cast.alice.send("POST", "/erasures", cast.bob.tenant._asdict()).status_code == 403

    receipt = erase(cast.alice)

    assert receipt["project_id"] == cast.alice.tenant.project_id
    assert cast.charlie.get(f"/erasures/{receipt['id']}").status_code == 404
    assert [row["id"] for row in cast.alice.get("/erasures").json()["results"]] == [receipt["id"]]
    assert cast.charlie.get("/erasures").json()["results"] == []


def test_an_empty_list_is_refused_for_it_would_mean_everything(cast: Cast) -> None:
    answered = cast.alice.send(
        "POST", "/erasures", {"user_id": cast.alice.tenant.user_id, "memory_log_ids": []}
    )

    assert answered.status_code == 400
    assert not Erasure.objects.exists()


def test_api_keys_go_where_the_request_asks_for_it(cast: Cast) -> None:
    cast.alice.send("POST", "/erasures", {"user_id": cast.alice.tenant.user_id, "api_keys": True})
    drain()

    assert cast.alice.get("/memory-logs").status_code == 401
    assert cast.bob.get("/memory-logs").status_code == 200
    assert APIKey.objects.filter(**cast.alice.tenant._asdict()).count() == 0


def test_while_chroma_is_away_the_other_stores_are_erased_and_the_receipt_says_so(
    cast: Cast, settings: Any
) -> None:
    fill(cast.alice)
    chroma = settings.CHROMA_URL
    settings.CHROMA_URL = "http://127.0.0.1:9"

    receipt = erase(cast.alice)

    assert receipt["status"] == "running"
    assert "chroma" in receipt["waits_for"]
    assert rows_with(WORD) == []

    settings.CHROMA_URL = chroma
    circuits.close_circuit("chroma")
    drain(through_backoff=True)
    receipt = cast.alice.get(f"/erasures/{receipt['id']}").json()
    assert (receipt["status"], receipt["verified"], receipt["waits_for"]) == ("done", True, None)
    assert documents(cast.alice)["ids"] == []


def test_the_command_waits_and_succeeds_only_when_it_is_verified(cast: Cast) -> None:
    fill(cast.alice)
    user, project = cast.alice.tenant

    told = answer("erase", "--user-id", user, "--project-id", project, "--yes")

    assert (told["status"], told["verified"]) == ("done", True)
    assert rows_with(WORD) == []
    drain()
    assert not MemoryVersion.objects.filter(user_id=user, project_id=project).exists()
    assert not IdempotentAnswer.objects.filter(user_id=user, project_id=project).exists()


@pytest.mark.parametrize("arguments", [("--yes",), ("--user-id", "ada")])
def test_the_command_wants_a_user_and_a_yes(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as refused:
        run_command("erase", *arguments)

    assert refused.value.returncode == 2
    assert not Erasure.objects.exists()


def test_verify_index_finds_what_is_back_after_an_erasure(cast: Cast) -> None:
    cast.alice.remember(task="erased")
    drain()
    row = MemoryLog.objects.get()
    receipt = erase(cast.alice)
    assert answer("verify_index", "--user-id", cast.bob.tenant.user_id)["erased_back"] == []
    row.save(force_insert=True)  # as a restored backup brings it
    MemoryLog.objects.update(created_at=row.created_at, indexed_version=None)

    with pytest.raises(CommandError, match=f"removed: {receipt['id']}"):
        run_command("verify_index", "--user-id", cast.alice.tenant.user_id)


def test_what_is_stored_after_an_erasure_is_not_taken_for_something_that_is_back(cast: Cast) -> None:
    erase(cast.alice)
    cast.alice.remember(task="new")
    drain()

    assert answer("verify_index", "--user-id", cast.bob.tenant.user_id)["erased_back"] == []


def test_a_key_that_may_not_erase_is_told_how_to_get_one(cast: Cast) -> None:
    client = client_with(new_key(*cast.alice.tenant, may_erase=False))

    refused = Actor(cast.alice.tenant, client).send("POST", "/erasures", cast.alice.tenant._asdict())

    assert refused.status_code == 403
    assert "--may-erase" in refused.json()["detail"]
    assert not Erasure.objects.exists()


def test_erasures_of_overlapping_scope_that_run_at_once_are_all_verified(cast: Cast) -> None:
    fill(cast.alice)
    alice = cast.alice.tenant
    named = MemoryLog.objects.filter(**alice._asdict()).values_list("id", flat=True)[:1]
    erasures = [
        request(**alice._asdict(), requested_by="a test"),
        request(user_id=alice.user_id, requested_by="a test"),
        request(user_id=alice.user_id, memory_log_ids=named, requested_by="a test"),
        request(user_id=alice.user_id, requested_by="a test"),
    ]

    in_parallel(4, lambda number: run.to_the_end(erasures[number].pk))
    drain()

    assert list(Erasure.objects.values_list("verified", "rounds")) == [(True, 1)] * 4
    assert rows_with(WORD) == []
    assert documents(cast.alice)["ids"] == []
