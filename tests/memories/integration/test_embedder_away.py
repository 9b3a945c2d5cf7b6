"""An embedding provider that does not give vectors: what the events make of it."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from outbox.delivery.deliver import deliver
from outbox.models import Event
from outbox.queue.circuits import close_circuit
from outbox.queue.claim import claim
from outbox.registry import handled_types
from outbox.testing import drain
from tests.support.google_api import GoogleAPI, google_api
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def google(settings: Settings) -> Iterator[GoogleAPI]:
    settings.EMBEDDING_BACKEND = "google"
    settings.EMBEDDING_CACHE_ENABLED = False
    settings.GOOGLE_API_KEY = "a-key"
    with google_api() as api:
        settings.GOOGLE_API_ENDPOINT = api.url
        yield api


def remember(count: int = 1) -> list[MemoryLog]:
    tenant = new_tenant()
    return create_memories(
        NewMemory(
            user_id=tenant.user_id, project_id=tenant.project_id, task=f"Task {n}", agent="a", raw_data={}
        )
        for n in range(count)
    )


def deliver_once() -> None:
    claimed = claim(handled_types(), batch=200, retries=0)
    deliver(claimed.token, claimed.events)


def outcome(row: MemoryLog) -> tuple[str, int]:
    event = Event.objects.get(aggregateid=str(row.id), type="memory_log.stored")
    return event.status, event.attempts


def circuit() -> tuple[float, str]:
    """Seconds until the embedder is tried again, and why it is left alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM open_until - now()), reason FROM outbox_circuit "
            "WHERE dependency = 'embedder' AND opened_at IS NOT NULL"
        )
        seconds, reason = cursor.fetchone()
    return float(seconds), reason


def test_a_used_up_quota_pauses_all_events_as_long_as_google_says_and_costs_no_attempt(
    google: GoogleAPI,
) -> None:
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "340s"}
    google.fails_with(429, "Quota exceeded", details=[delay])
    rows = remember(3)

    deliver_once()

    assert {outcome(row) for row in rows} == {("pending", 0)}
    assert len(google.requests) == 1
    seconds, reason = circuit()
    assert 240 < seconds <= 340
    assert "Quota exceeded" in reason


def test_events_go_on_when_google_answers_again(google: GoogleAPI) -> None:
    google.fails_with(503, "Overloaded")
    (row,) = remember()
    deliver_once()

    google.recovers()
    close_circuit("embedder")
    drain()

    row.refresh_from_db()
    assert outcome(row) == ("delivered", 1)
    assert row.embedding_model == "gemini-embedding-2"


def test_what_was_embedded_before_it_went_away_is_kept(google: GoogleAPI) -> None:
    rows = remember(101)  # one more than a call takes
    google.refuses("Task 100", status=503)  # the newest, which is in the second call

    deliver_once()

    assert len(google.requests) == 2
    assert MemoryLog.objects.filter(embedding=None).get() == rows[100]
    assert {outcome(row) for row in rows} == {("pending", 0)}


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (400, "API key not valid. Please pass a valid API key.", "check GOOGLE_API_KEY"),
        (404, "models/gemini-embedding-2 is not found", "check EMBEDDING_MODEL"),
    ],
)
def test_a_bad_key_or_model_waits_with_words_a_person_can_act_on(
    google: GoogleAPI, status: int, message: str, advice: str
) -> None:
    google.fails_with(status, message)
    (row,) = remember()

    deliver_once()

    assert outcome(row) == ("pending", 0)
    assert advice in circuit()[1]


def test_vectors_of_another_length_wait_for_the_setting(google: GoogleAPI) -> None:
    google.answers_with({"embeddings": [{"values": [0.5] * 3072}]})
    (row,) = remember()

    deliver_once()

    assert outcome(row) == ("pending", 0)
    assert "vectors of 3072 dimensions instead of 768: set EMBEDDING_DIMENSIONS" in circuit()[1]


def test_one_text_that_google_refuses_dies_alone(google: GoogleAPI) -> None:
    rows = remember(3)
    google.refuses("Task 1")

    drain()

    assert [outcome(row) for row in rows] == [("delivered", 1), ("dead", 1), ("delivered", 1)]
    dead = Event.objects.get(aggregateid=str(rows[1].id), type="memory_log.stored")
    assert "Google cannot embed this text" in dead.last_error


def test_a_text_longer_than_the_model_reads_is_marked_on_its_event(settings: Settings) -> None:
    settings.EMBEDDING_MODEL = "gemini-embedding-001"
    tenant = new_tenant()
    short, long = create_memories(
        NewMemory(
            user_id=tenant.user_id, project_id=tenant.project_id, task="T", agent="a", raw_data={"log": log}
        )
        for log in ("1234 5678", "1234 " * 800)
    )

    drain()

    events = Event.objects.filter(type="embedding.generated", payload__memory_id__in=[short.id, long.id])
    marks = {event.payload["memory_id"]: event.payload["truncated"] for event in events}
    assert marks == {short.id: False, long.id: True}
