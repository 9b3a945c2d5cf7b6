"""Retention: old delivered events are deleted; events that wait for a person's decision stay."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.test import override_settings
from django.utils import timezone
from django_q.models import Schedule

from outbox.models import Event, Failure, Intervention, Status
from outbox.operations import dead_letters
from outbox.operations import prune as pruning
from outbox.operations.prune import SCHEDULE, prunable, prune
from outbox.operations.schedules import ensure_schedules
from tests.support.events import answer, run, stored

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def left() -> set[int]:
    return set(Event.objects.values_list("pk", flat=True))


@override_settings(OUTBOX_RETENTION_DAYS=7)
def test_delivered_events_are_deleted_after_the_retention_and_not_before() -> None:
    stored("order.placed", Status.DELIVERED, age=8 * DAY)
    young = stored("order.placed", Status.DELIVERED, age=6 * DAY)

    assert prunable() == 1
    assert prune() == 1
    assert left() == {young.pk}


def test_events_that_are_not_done_stay_however_old() -> None:
    kept = {stored("order.placed", status, age=400 * DAY).pk for status in ("pending", "claimed", "dead")}

    assert prune() == 0
    assert left() == kept


def test_a_discarded_event_is_kept_as_long_since_it_was_discarded() -> None:
    given_up_now = stored("order.placed", Status.DEAD, age=400 * DAY)
    given_up_long_ago = stored("order.placed", Status.DEAD, age=400 * DAY)
    dead_letters.discard(events=Event.objects.all(), by="bob", reason="obsolete")
    Intervention.objects.filter(event=given_up_long_ago).update(at=timezone.now() - 31 * DAY)

    assert prunable() == 1
    assert prune() == 1
    assert left() == {given_up_now.pk}


def test_failures_and_interventions_are_deleted_with_their_event() -> None:
    for age in (1 * DAY, 40 * DAY):
        event = stored("order.placed", Status.DELIVERED, age=age)
        Failure.objects.create(event=event, attempt=1, error="no", worker="host:1")
        Intervention.objects.create(event=event, action="retried", by="alice")

    prune()

    [young] = left()
    assert list(Failure.objects.values_list("event_id", flat=True)) == [young]
    assert list(Intervention.objects.values_list("event_id", flat=True)) == [young]
    connection.check_constraints()


def test_it_deletes_small_batches_and_reports_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    for days in range(31, 36):
        stored("order.placed", Status.DELIVERED, age=days * DAY)
    batches: list[int] = []

    assert prune(on_batch=batches.append) == 5
    assert batches == [2, 2, 1]


def test_each_batch_starts_where_the_last_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 1)
    stored("order.placed", Status.DELIVERED, age=40 * DAY)

    def one_more(count: int) -> None:
        assert Event.objects.count() == 0, "it went back to what came in behind it"
        stored("order.placed", Status.DELIVERED, age=41 * DAY)

    assert prune(on_batch=one_more) == 1
    assert prune() == 1


def test_it_stops_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 1)
    for _ in range(3):
        stored("order.placed", Status.DELIVERED, age=40 * DAY)
    clock = iter([0.0, 10.0, 20.0, 31.0, 31.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    assert prune(seconds=30) == 2
    monkeypatch.undo()
    assert prune(seconds=30) == 1


@pytest.mark.django_db(transaction=True)
def test_locked_rows_are_skipped() -> None:
    locked = stored("order.placed", Status.DELIVERED, age=40 * DAY)
    stored("order.placed", Status.DELIVERED, age=39 * DAY)
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM outbox_event WHERE id = %s FOR UPDATE", [locked.pk])
            assert prune() == 1
    finally:
        other.rollback()
        other.close()

    assert left() == {locked.pk}


def test_the_command_deletes_and_counts() -> None:
    stored("order.placed", Status.DELIVERED, age=3 * DAY)

    assert answer("outbox_prune", "--days", "2", "--dry-run") == {"dry_run": True, "pruned": 1}
    assert run("outbox_prune", "--days", "2", "--dry-run") == "Would delete 1 event.\n"
    assert answer("outbox_prune") == {"dry_run": False, "pruned": 0}
    assert run("outbox_prune", "--days", "2") == "Deleted 1 event.\n"
    assert left() == set()


def test_days_to_keep_cannot_be_negative() -> None:
    with pytest.raises(CommandError, match="0 or more") as refused:
        run("outbox_prune", "--days", "-1")

    assert refused.value.returncode == 2


def test_migrate_creates_an_hourly_schedule() -> None:
    Schedule.objects.all().delete()

    call_command("migrate", verbosity=0)

    schedule = Schedule.objects.get(name=SCHEDULE)
    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 60)
    assert schedule.repeats == -1


def test_migrate_keeps_a_persons_changes_of_the_schedule() -> None:
    ensure_schedules()
    Schedule.objects.filter(name=SCHEDULE).update(
        schedule_type=Schedule.WEEKLY, kwargs="seconds=5", repeats=0
    )

    ensure_schedules()

    schedule = Schedule.objects.get(name=SCHEDULE)
    assert (schedule.schedule_type, schedule.kwargs, schedule.repeats) == (Schedule.WEEKLY, "seconds=5", 0)


@pytest.mark.django_db(transaction=True)  # the scheduler closes the connection
def test_the_schedule_runs_as_the_cluster_runs_it() -> None:
    from django_q.models import OrmQ
    from django_q.scheduler import scheduler
    from django_q.signing import SignedPackage

    ensure_schedules()
    Schedule.objects.update(next_run=timezone.now() - timedelta(seconds=1))
    stored("order.placed", Status.DELIVERED, age=40 * DAY)

    scheduler()

    tasks = [SignedPackage.loads(queued.payload) for queued in OrmQ.objects.all()]
    [arguments] = [task["kwargs"] for task in tasks if task["func"] == "outbox.operations.prune.prune"]
    assert arguments == {"seconds": 30}
    assert prune(**arguments) == 1


def test_without_the_tables_of_django_q2_no_schedule_is_created() -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE django_q_schedule")

        ensure_schedules()

        transaction.set_rollback(True)
