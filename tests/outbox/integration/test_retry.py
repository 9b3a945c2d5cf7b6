"""Dead letters: a person retries or discards them, and the decision is kept."""

import pytest
from django.core.management import CommandError
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from outbox.management.command import operator
from outbox.models import Event, Failure, Intervention, Status
from outbox.operations import dead_letters
from outbox.testing import drain, handled
from tests.support.events import answer, run, stored
from tests.support.processes import exit_code, manage

pytestmark = pytest.mark.django_db


def dead(type: str = "order.placed", error: str = "ValueError: no such order") -> Event:
    event = stored(type, Status.DEAD, attempts=8, last_error=error)
    Failure.objects.create(event=event, attempt=8, error=error, worker="host:1")
    return event


def status(event: Event) -> str:
    return Event.objects.get(pk=event.pk).status


def test_a_retried_event_has_no_attempt_counted_and_keeps_its_failures() -> None:
    event = dead()

    assert dead_letters.retry(events=Event.objects.all(), by="alice", reason="the order exists now") == 1

    event.refresh_from_db()
    assert (event.status, event.attempts) == (Status.PENDING, 0)
    assert event.available_at <= timezone.now()
    assert event.last_error == "ValueError: no such order"
    assert event.failures.count() == 1


def test_a_retried_event_is_delivered() -> None:
    event = dead()
    delivered = []

    dead_letters.retry(events=Event.objects.all(), by="alice")
    with handled("order.placed", by=delivered.append):
        drain()

    assert [claimed.id for claimed in delivered] == [event.pk]
    assert status(event) == Status.DELIVERED


def test_the_person_and_the_reason_are_kept() -> None:
    event = dead()

    dead_letters.discard(events=Event.objects.all(), by="bob", reason="a test order")
    dead_letters.retry(events=Event.objects.all(), by="alice", reason="it was not")

    kept = Intervention.objects.filter(event=event).values_list("action", "by", "reason")
    assert list(kept) == [("discarded", "bob", "a test order"), ("retried", "alice", "it was not")]
    assert str(Intervention.objects.filter(event=event)[0]) == f"event {event.pk} discarded by bob"


def test_claimed_and_delivered_events_are_not_retried() -> None:
    for other in (Status.PENDING, Status.CLAIMED, Status.DELIVERED):
        stored("order.placed", other)

    assert dead_letters.retry(events=Event.objects.all(), by="alice") == 0
    assert Intervention.objects.count() == 0


def test_dead_and_waiting_events_can_be_discarded_and_others_not() -> None:
    events = {before: stored("order.placed", before) for before in Status}

    assert dead_letters.discard(events=Event.objects.all(), by="bob", reason="obsolete") == 2

    after = {before: status(event) for before, event in events.items()}
    assert after[Status.DEAD] == after[Status.PENDING] == Status.DISCARDED
    assert after[Status.CLAIMED] == Status.CLAIMED
    assert after[Status.DELIVERED] == Status.DELIVERED


def test_a_discarded_event_is_not_delivered() -> None:
    event = stored("order.placed")

    dead_letters.discard(events=Event.objects.all(), by="bob", reason="obsolete")
    with handled("order.placed", by=lambda event: None):
        assert drain() == 0

    assert status(event) == Status.DISCARDED


def test_many_events_are_changed_in_batches_and_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "BATCH", 2)
    for _ in range(5):
        dead()

    assert dead_letters.retry(events=Event.objects.order_by("-created_at"), by="alice") == 5
    assert Event.objects.filter(status=Status.PENDING).count() == 5


def test_an_event_that_changed_since_it_was_selected_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    event = dead()
    select = dead_letters._next  # noqa: SLF001 - the moment between the two statements of a batch

    def select_then_somebody_else_retries(*arguments: object) -> list[int]:
        ids = select(*arguments)  # type: ignore[arg-type]
        Event.objects.filter(pk=event.pk).update(status=Status.CLAIMED)
        return ids

    monkeypatch.setattr(dead_letters, "_next", select_then_somebody_else_retries)

    assert dead_letters.retry(events=Event.objects.all(), by="alice") == 0
    assert status(event) == Status.CLAIMED


@pytest.mark.django_db(transaction=True)
def test_a_retry_wakes_the_relay() -> None:
    from outbox.relay.listener import Listener

    dead()
    listener = Listener()
    listener.wait(0)
    try:
        assert not listener.wait(0.01)
        dead_letters.retry(events=Event.objects.all(), by="alice")
        assert listener.wait(5)
    finally:
        listener.close()


def test_the_command_takes_all_dead_letters_and_not_the_discarded() -> None:
    dead()
    dead("order.shipped")
    discarded = stored("order.placed", Status.DISCARDED)

    assert answer("outbox_retry", "--all") == {"dry_run": False, "retried": 2}
    assert status(discarded) == Status.DISCARDED


def test_the_command_takes_one_type() -> None:
    placed, shipped, billed = dead("order.placed"), dead("order.shipped"), dead("order.billed")

    assert run("outbox_retry", "--type", "order.placed", "--type", "order.billed") == (
        "2 events will be delivered again.\n"
    )
    assert [status(event) for event in (placed, shipped, billed)] == [
        Status.PENDING,
        Status.DEAD,
        Status.PENDING,
    ]


def test_the_command_takes_those_with_an_error() -> None:
    timeout, bug = dead(error="TimeoutError: 60 s"), dead(error="ValueError: no")

    assert answer("outbox_retry", "--error", "timeout")["retried"] == 1
    assert (status(timeout), status(bug)) == (Status.PENDING, Status.DEAD)


def test_the_command_takes_one_by_its_id_also_a_discarded_one() -> None:
    first, second = dead(), dead()
    discarded = stored("order.placed", Status.DISCARDED)

    arguments = ["--id", str(first.pk), "--id", str(discarded.pk), "--reason", "mended"]
    assert answer("outbox_retry", *arguments)["retried"] == 2
    assert [status(event) for event in (first, second, discarded)] == [
        Status.PENDING,
        Status.DEAD,
        Status.PENDING,
    ]
    assert set(Intervention.objects.values_list("by", "reason")) == {(operator(), "mended")}


def test_a_dry_run_says_how_many_and_changes_nothing() -> None:
    event = dead()
    stored("order.placed", Status.DELIVERED)

    assert answer("outbox_retry", "--all", "--dry-run") == {"dry_run": True, "retried": 1}
    assert run("outbox_retry", "--all", "--dry-run") == "Would retry 1 event.\n"
    assert status(event) == Status.DEAD


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Which events\\? Give one of --all, --type, --id, --error."),
        (["--all", "--type", "order.placed"], "--all and --type contradict each other."),
        (["--all", "--error", "timeout"], "--all and --error contradict each other."),
    ],
)
def test_a_selection_that_selects_nothing_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message) as refused:
        run("outbox_retry", *arguments)

    assert refused.value.returncode == 2


def test_a_database_error_is_reported_without_a_traceback() -> None:
    def gone(*_: object) -> None:
        raise OperationalError("server closed the connection unexpectedly\n")

    with (
        connection.execute_wrapper(gone),
        pytest.raises(
            CommandError, match="The database failed: server closed the connection unexpectedly"
        ) as no,
    ):
        run("outbox_status")

    assert no.value.returncode == 1


def test_missing_tables_are_reported_without_a_traceback() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE outbox_event RENAME TO elsewhere")
        with pytest.raises(
            CommandError, match=r'do not match this version: .*"outbox_event" does not exist'
        ) as no:
            run("outbox_status")
        transaction.set_rollback(True)

    assert no.value.returncode == 1


def test_a_closed_connection_is_reported_without_a_traceback() -> None:
    """Django's InterfaceError is no DatabaseError."""

    def closed(*_: object) -> None:
        raise InterfaceError("connection already closed")

    with (
        connection.execute_wrapper(closed),
        pytest.raises(CommandError, match="The database failed: connection already closed"),
    ):
        run("outbox_status")


def test_the_exit_code_is_1_if_the_database_does_not_answer() -> None:
    away = manage("outbox_status", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")

    assert away.returncode == 1
    assert away.stderr.startswith("CommandError: The database failed: ")
    assert "Does the server of DATABASE_URL run?" in away.stderr
    assert "Traceback" not in away.stderr


def test_the_operator_of_a_container_may_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr("getpass.getuser", nameless)

    assert operator() == "unknown account"


@pytest.mark.django_db(transaction=True)
def test_exit_codes() -> None:
    dead()

    assert exit_code("outbox_retry", "--all") == 0
    assert exit_code("outbox_retry") == 2
    assert exit_code("outbox_retry", "--id", "seven") == 2
