"""outbox_doctor: each examination finds its fault, and repairs it if that is safe."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, InterfaceError, connection, connections, transaction
from django.test import override_settings
from django.utils import timezone
from django_q.conf import Conf as Cluster

from outbox.cluster import heartbeat
from outbox.database.triggers import create_triggers
from outbox.doctor import Finding, diagnose
from outbox.exceptions import Unavailable
from outbox.models import Event, Relay, Status
from outbox.operations import pauses, problems
from outbox.operations.problems import Problem
from outbox.queue import circuits
from outbox.relay.listener import Listener
from outbox.testing import handled
from tests.support.events import stored
from tests.support.processes import exit_code, manage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _a_cluster_runs() -> None:
    heartbeat.beat(uuid4(), "host-1", 4242, "listen")


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def examine(name: str, *, fix: bool = False) -> Finding:
    [finding] = [finding for finding in diagnose(fix=fix) if finding.name == name]
    return finding


def wrong() -> dict[str, str]:
    return {finding.name: finding.actual for finding in diagnose() if not finding.ok}


def test_a_healthy_outbox_passes() -> None:
    assert wrong() == {}


def test_every_finding_says_what_was_expected_and_what_to_do() -> None:
    for finding in diagnose():
        assert finding.expected
        assert finding.actual
        assert finding.repair


def test_a_missing_migration_is_found_and_ends_the_examination() -> None:
    execute("CREATE TEMP TABLE kept AS SELECT * FROM django_migrations WHERE app = 'outbox'")
    execute("DELETE FROM django_migrations WHERE app = 'outbox'")
    try:
        [finding] = diagnose()
    finally:
        execute("INSERT INTO django_migrations OVERRIDING SYSTEM VALUE SELECT * FROM kept")
        execute("DROP TABLE kept")

    assert not finding.ok
    assert finding.name == "migrations"
    assert "0001_initial" in finding.actual


def test_missing_migrations_are_applied() -> None:
    call_command("migrate", "outbox", "zero", verbosity=0)

    finding = examine("migrations", fix=True)

    assert (finding.ok, finding.fixed) == (True, True)
    assert wrong().keys() == {"cluster"}  # the row of the running relay went with its table


def test_migrations_can_be_reversed_and_applied_again() -> None:
    call_command("migrate", "outbox", "zero", verbosity=0)
    try:
        assert [finding.ok for finding in diagnose()] == [False]
    finally:
        call_command("migrate", verbosity=0)

    heartbeat.beat(uuid4(), "host-1", 4242, "listen")
    assert wrong() == {}


@pytest.mark.parametrize("name", ["outbox_wakeup", "outbox_recorded"])
def test_a_missing_trigger_is_found_and_created(name: str) -> None:
    execute(f"DROP TRIGGER {name} ON outbox_event")

    assert wrong() == {"wakeup triggers": f"{name} is missing"}
    assert examine("wakeup triggers", fix=True).ok
    assert wrong() == {}


def test_a_trigger_with_the_function_of_another_version_is_found_and_replaced() -> None:
    execute(
        "CREATE OR REPLACE FUNCTION outbox_wakeup() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )

    assert wrong() == {"wakeup triggers": "outbox_wakeup has another function"}
    assert examine("wakeup triggers", fix=True).ok
    assert wrong() == {}


def test_a_trigger_that_contradicts_the_setting_is_found_and_switched() -> None:
    try:
        with override_settings(OUTBOX_WAKEUP="poll"):
            assert wrong() == {"wakeup triggers": "outbox_wakeup is enabled; outbox_recorded is enabled"}
            assert examine("wakeup triggers", fix=True).ok
        assert wrong() == {"wakeup triggers": "outbox_wakeup is disabled; outbox_recorded is disabled"}
        assert examine("wakeup triggers", fix=True).ok
    finally:
        create_triggers()


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        ("DROP INDEX outbox_event_delivered", "missing"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'outbox_event_delivered'::regclass",
            "invalid",
        ),
    ],
)
def test_a_broken_index_is_found_and_built(damage: str, state: str) -> None:
    execute(damage)

    assert wrong() == {"indexes": f"outbox_event_delivered is {state}"}
    assert examine("indexes", fix=True).ok
    assert wrong() == {}


def test_a_missing_constraint_that_nothing_violates_is_built() -> None:
    execute("DROP INDEX outbox_event_in_flight")

    assert wrong() == {"indexes": "outbox_event_in_flight is missing"}
    assert examine("indexes", fix=True).ok
    stored("order.placed", Status.CLAIMED, aggregateid="1")
    with pytest.raises(IntegrityError):
        stored("order.placed", Status.CLAIMED, aggregateid="1")


def test_a_failed_repair_is_reported() -> None:
    execute("DROP INDEX outbox_event_in_flight")
    for _ in range(2):
        stored("order.placed", Status.CLAIMED, aggregateid="1", lease_expires_at=timezone.now())

    finding = examine("indexes", fix=True)

    assert not finding.ok
    assert not finding.fixed
    assert finding.actual.startswith(
        "outbox_event_in_flight is invalid (the repair failed: could not create unique"
    )
    Event.objects.all().delete()
    assert examine("indexes", fix=True).ok


def test_a_connection_that_closes_during_a_repair_is_reported() -> None:
    """Django's InterfaceError is no DatabaseError."""

    def closed(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("CREATE INDEX"):
            raise InterfaceError("connection already closed")
        return execute(sql, *arguments)

    execute("DROP INDEX outbox_event_delivered")
    with connection.execute_wrapper(closed):
        finding = examine("indexes", fix=True)

    assert (
        finding.actual == "outbox_event_delivered is missing (the repair failed: connection already closed)"
    )
    assert examine("indexes", fix=True).ok


def test_different_autovacuum_settings_are_found_and_set() -> None:
    execute("ALTER TABLE outbox_event RESET (autovacuum_vacuum_threshold)")
    execute(
        "ALTER TABLE outbox_failure SET (autovacuum_vacuum_scale_factor = 0.5, autovacuum_enabled = false)"
    )

    assert wrong() == {
        "autovacuum": "outbox_failure: autovacuum is off; "
        "outbox_event: autovacuum_vacuum_threshold is not set, not 1000; "
        "outbox_failure: autovacuum_vacuum_scale_factor is 0.5, not 0.05"
    }
    assert examine("autovacuum", fix=True).ok
    assert wrong() == {}


@override_settings(OUTBOX_MAX_ATTEMPTS=0)
def test_settings_that_the_system_checks_refuse_are_found() -> None:
    assert wrong()["settings"] == "outbox.E007: OUTBOX_MAX_ATTEMPTS is 0: it must be at least 1."


@override_settings(OUTBOX_LEASE_SECONDS=120)
def test_a_short_lease_is_found() -> None:
    finding = examine("lease")

    assert not finding.ok
    assert (finding.expected[-7:], finding.actual) == (": 240 s", "120 s")


def test_a_missing_timeout_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "TIMEOUT", None)

    finding = examine("lease")

    assert not finding.ok
    assert finding.actual == "Q_CLUSTER has no timeout"


def test_a_notify_that_does_not_arrive_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listener, "ECHO_SECONDS", 0.1)
    with transaction.atomic():  # a NOTIFY is held back until the commit
        finding = examine("LISTEN")

    assert not finding.ok
    assert finding.actual == "no NOTIFY arrived"
    assert "OUTBOX_WAKEUP=poll" in finding.repair


def test_without_listen_no_notify_is_expected() -> None:
    with override_settings(OUTBOX_WAKEUP="poll"):
        finding = examine("LISTEN")

    assert finding.ok
    assert finding.actual == "not used"


def test_a_wrong_clock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr("outbox.doctor.environment.timezone.now", lambda: ahead)

    assert wrong()["clocks"].startswith("the database's clock is -3")


def test_an_old_transaction_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outbox.doctor.environment.OLDEST_TRANSACTION_MINUTES", 0)
    assert "old transactions" not in wrong()
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [pid] = cursor.fetchone()

        assert wrong() == {"old transactions": f"process {pid} of postgres, for 0 min"}
    finally:
        other.rollback()
        other.close()


@pytest.mark.parametrize(("seconds", "alive"), [(5, True), (90, False)])
def test_a_cluster_without_a_heartbeat_for_some_seconds_does_not_run(seconds: int, alive: bool) -> None:
    Relay.objects.update(alive_at=timezone.now() - timedelta(seconds=seconds))

    finding = examine("cluster")

    assert finding.ok is alive
    assert (
        "host-1:4242, wakeup by listen, seen" if alive else "no cluster has a recent heartbeat"
    ) in finding.actual


def test_dead_letters_are_named() -> None:
    stored("order.placed", Status.DEAD)

    finding = examine("dead letters")

    assert not finding.ok
    assert finding.actual.startswith("1 event could not be delivered")


def test_expired_leases_are_found_and_their_events_freed() -> None:
    lost = timezone.now() - timedelta(seconds=20)
    with handled("order.placed", by=print):
        for _ in range(2):
            stored("order.placed", Status.CLAIMED, attempts=1, claim_token=uuid4(), lease_expires_at=lost)

        assert wrong() == {"leases": "2 events claimed by workers that no longer live"}
        assert examine("leases", fix=True).ok

    assert Event.objects.filter(status=Status.PENDING).count() == 2


def test_waiting_types_without_a_handler_are_found() -> None:
    stored("order.placed")
    stored("order.placed")
    stored("memory_log.stored")
    stored("order.shipped", Status.DEAD)

    assert wrong()["handlers"] == "2 events of order.placed without one"


def test_open_circuits_are_found() -> None:
    circuits.open_circuit(Unavailable("mailer", "connection refused"))

    assert wrong()["circuits"].startswith("mailer is away (connection refused) since ")


def test_a_paused_type_is_found() -> None:
    pauses.pause_type("test.noted", by="olga", reason="it is moved")

    assert wrong()["pauses"].startswith("The event type test.noted is paused (by olga: it is moved) since ")


def test_what_an_app_tells_of_its_settings_is_found() -> None:
    def refused() -> list[Problem]:
        return [
            Problem(kind="settings", what="The mailer has no key", holds_up="", by_itself="Set MAILER_KEY.")
        ]

    problems.problem(refused)
    try:
        assert wrong() == {"apps": "The mailer has no key. Set MAILER_KEY."}
    finally:
        problems._of_apps.remove(refused)  # noqa: SLF001


def test_events_beyond_the_retention_are_found_and_deleted() -> None:
    stored("order.placed", Status.DELIVERED, age=timedelta(days=30, hours=12))
    assert wrong() == {}
    stored("order.placed", Status.DELIVERED, age=timedelta(days=32))

    assert wrong() == {"retention": "1 are at least a day older"}
    assert examine("retention", fix=True).ok
    assert Event.objects.count() == 0


def test_the_command_prints_every_examination_and_ends_with_0() -> None:
    out = StringIO()

    call_command("outbox_doctor", stdout=out)

    assert out.getvalue().splitlines()[0] == "ok     migrations: all are applied"
    assert all(line.startswith("ok") for line in out.getvalue().splitlines())


def test_the_command_says_what_is_wrong_and_how_to_repair_it() -> None:
    Relay.objects.all().delete()
    execute("DROP INDEX outbox_event_delivered")
    out = StringIO()

    with pytest.raises(CommandError, match=r"^1 of 19 examinations found something wrong\.$") as found:
        call_command("outbox_doctor", "--fix", stdout=out)

    assert found.value.returncode == 1
    assert "fixed  indexes: all are there and valid\n" in out.getvalue()
    assert (
        "WRONG  cluster: no cluster has a recent heartbeat\n"
        "       expected: at least one runs\n"
        "       repair:   python manage.py qcluster\n"
    ) in out.getvalue()


def test_json_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    sick = manage("outbox_doctor", "--json", OUTBOX_MAX_ATTEMPTS="0")
    healthy = exit_code("outbox_doctor", "--json")

    assert (sick.returncode, healthy) == (1, 0)
    assert sick.stderr.startswith("CommandError: 1 of 19 examinations found something wrong.")
    answer = json.loads(sick.stdout)
    assert answer["ok"] is False
    [settings] = [finding for finding in answer["findings"] if not finding["ok"]]
    assert settings == {
        "name": "settings",
        "ok": False,
        "expected": "the outbox's system checks pass",
        "actual": "outbox.E007: OUTBOX_MAX_ATTEMPTS is 0: it must be at least 1.",
        "repair": "python manage.py check says what to change",
        "fixed": False,
        "fixable": False,
    }
    assert json.loads(capsys.readouterr().out)["ok"] is True
