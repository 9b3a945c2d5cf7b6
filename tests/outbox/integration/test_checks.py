"""System checks: settings that cannot work are refused, with their name and what to do."""

import re
from ast import literal_eval
from dataclasses import fields
from typing import Any

import django_q
import pytest
from django.core.checks import CheckMessage, run_checks
from django.db.models import Model
from django.test import override_settings
from django_q.conf import Conf as Cluster
from pytest_django.fixtures import Settings

from outbox.checks import TAG, longest_wait
from outbox.conf import Defaults
from outbox.relay.broker import OutboxBroker
from tests.support.paths import ROOT
from tests.support.processes import manage


def messages() -> list[CheckMessage]:
    return run_checks(tags=[TAG])


def only() -> CheckMessage:
    [message] = messages()
    assert message.hint
    return message


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets django-q2's settings, which it reads once, at import."""

    def configure(**settings: object) -> None:
        for name, value in settings.items():
            monkeypatch.setattr(Cluster, name, value)

    return configure


class MyBroker(OutboxBroker):
    pass


def test_the_projects_own_settings_pass() -> None:
    assert messages() == []


def test_the_settings_of_the_installation_page_pass(cluster: Any, settings: Settings) -> None:
    page = (ROOT / "docs/how-to/install-the-outbox.md").read_text()
    [written] = re.findall(r"Q_CLUSTER = (\{.+?\n\})", page, re.DOTALL)
    example = literal_eval(written)
    example.setdefault("queue_limit", example["workers"] ** 2)
    names = ("broker_class", "workers", "queue_limit", "timeout", "retry")
    cluster(**{name.upper(): example[name] for name in names})
    for field in fields(Defaults):
        setattr(settings, f"OUTBOX_{field.name}", field.default)

    assert messages() == []


@pytest.mark.parametrize("lease", [59, 60])
def test_a_lease_must_outlast_the_task(lease: int) -> None:
    with override_settings(OUTBOX_LEASE_SECONDS=lease):
        message = only()

    assert message.id == "outbox.E001"
    assert f"({lease}) is not longer than the timeout of a task (60 s)" in message.msg
    assert "above 240" in str(message.hint)


@pytest.mark.parametrize(("lease", "ids"), [(300, ["outbox.W001"]), (301, [])])
def test_a_lease_should_outlast_the_wait_in_the_queue_too(cluster: Any, lease: int, ids: list[str]) -> None:
    cluster(QUEUE_LIMIT=3, WORKERS=2, TIMEOUT=60)

    with override_settings(OUTBOX_LEASE_SECONDS=lease, OUTBOX_RETRY_BATCH_SIZE=2):
        assert [message.id for message in messages()] == ids


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("queue_limit", [1, 2, 5])
@pytest.mark.parametrize("retries", [1, 2, 8])
def test_the_longest_wait_is_that_of_the_last_task_of_a_claim(
    cluster: Any, settings: Settings, workers: int, queue_limit: int, retries: int
) -> None:
    """Simulated: every worker has just begun a task, the queue is full, and each task takes the whole timeout."""
    cluster(QUEUE_LIMIT=queue_limit, WORKERS=workers, TIMEOUT=60)
    settings.OUTBOX_RETRY_BATCH_SIZE = retries
    free_at = [60] * workers
    for _ in range(queue_limit + workers + retries):
        first_free = free_at.index(min(free_at))
        free_at[first_free] += 60

    assert longest_wait() == max(free_at)


def test_a_cluster_without_a_timeout_is_a_warning(cluster: Any) -> None:
    cluster(TIMEOUT=None)

    assert only().id == "outbox.W002"


@pytest.mark.parametrize("limit", [0, None])
def test_the_clusters_queue_must_have_a_limit(cluster: Any, limit: int | None) -> None:
    """Without a limit, django-q2 prefetches every task."""
    cluster(QUEUE_LIMIT=limit)

    message = only()

    assert message.id == "outbox.E008"
    assert f"queue_limit is {limit}:" in message.msg


@pytest.mark.parametrize(("retry", "ids"), [(60, ["outbox.E002"]), (61, [])])
def test_retry_must_be_longer_than_timeout(cluster: Any, retry: int, ids: list[str]) -> None:
    cluster(RETRY=retry, TIMEOUT=60)

    assert [message.id for message in messages()] == ids


@pytest.mark.parametrize("name", ["OUTBOX_BATCH_SIZE", "OUTBOX_RETRY_BATCH_SIZE"])
@pytest.mark.parametrize(
    ("size", "ids"), [(0, ["outbox.E003"]), (1, []), (10_000, []), (10_001, ["outbox.E003"])]
)
def test_batches_are_bounded(name: str, size: int, ids: list[str]) -> None:
    with override_settings(**{name: size}, OUTBOX_LEASE_SECONDS=1_000_000):
        assert [message.id for message in messages()] == ids


def test_the_database_must_be_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.db.backends.postgresql.base.DatabaseWrapper.vendor", "sqlite")

    message = only()

    assert message.id == "outbox.E004"
    assert "The default database is sqlite" in message.msg


class Router:
    """Sends the outbox's models elsewhere for reads or for writes."""

    def __init__(self, use: str) -> None:
        setattr(self, f"db_for_{use}", self._database)

    def _database(self, model: type[Model], **_: Any) -> str | None:
        return "replica" if model._meta.app_label == "outbox" else None  # noqa: SLF001


@pytest.mark.parametrize("use", ["read", "write"])
def test_a_router_must_leave_the_outbox_in_the_default_database(settings: Settings, use: str) -> None:
    """Its SQL uses the default connection."""
    settings.DATABASE_ROUTERS = [Router(use)]

    message = only()

    assert message.id == "outbox.E004"
    assert "a database router sends outbox.Event to 'replica'" in message.msg


@pytest.mark.parametrize(
    "broker", [None, "django_q.brokers.orm.ORM", "outbox.relay.broker.Misspelt", "outbox.checks.longest_wait"]
)
def test_the_broker_class_must_be_ours(cluster: Any, broker: str | None) -> None:
    cluster(BROKER_CLASS=broker)

    message = only()

    assert message.id == "outbox.E005"
    assert repr(broker) in message.msg


def test_an_untested_version_of_django_q2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_q, "VERSION", (1, 12, 0))

    message = only()

    assert message.id == "outbox.E009"
    assert "django-q2 1.12.0 is installed" in message.msg
    assert "tested with 1.11.x only" in message.msg
    assert "pip install 'django-q2>=1.11,<1.12'" in (message.hint or "")


def test_a_patch_release_of_a_tested_version_of_django_q2_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_q, "VERSION", (1, 11, 9))

    assert messages() == []


def test_a_subclass_of_our_broker_passes(cluster: Any) -> None:
    cluster(BROKER_CLASS=f"{__name__}.MyBroker")

    assert messages() == []


@override_settings(OUTBOX_WAKEUP="shout")
def test_an_unknown_wakeup_is_refused() -> None:
    message = only()

    assert message.id == "outbox.E006"
    assert "'shout'" in message.msg


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"OUTBOX_MAX_ATTEMPTS": 0}, "OUTBOX_MAX_ATTEMPTS is 0: it must be at least 1."),
        ({"OUTBOX_POLL_SECONDS": 0}, "OUTBOX_POLL_SECONDS is 0: it must be at least 0.01."),
        ({"OUTBOX_BACKOFF_BASE_SECONDS": -1}, "OUTBOX_BACKOFF_BASE_SECONDS is -1: it must be at least 0."),
        (
            {"OUTBOX_BACKOFF_CAP_SECONDS": 0.5},
            "OUTBOX_BACKOFF_CAP_SECONDS is 0.5: it must be at least OUTBOX_BACKOFF_BASE_SECONDS (1.0).",
        ),
        ({"OUTBOX_CIRCUIT_BASE_SECONDS": 0}, "OUTBOX_CIRCUIT_BASE_SECONDS is 0: it must be at least 0.01."),
        ({"OUTBOX_CIRCUIT_CAP_SECONDS": 0}, "at least OUTBOX_CIRCUIT_BASE_SECONDS (1.0)."),
        ({"OUTBOX_RETENTION_DAYS": 0}, "OUTBOX_RETENTION_DAYS is 0: it must be at least 1."),
    ],
)
def test_numbers_below_their_minimum_are_refused(settings: dict[str, float], text: str) -> None:
    with override_settings(**settings):
        message = only()

    assert message.id == "outbox.E007"
    assert text in message.msg


@pytest.mark.django_db
def test_manage_py_refuses_to_start_with_wrong_settings() -> None:
    refused = manage("check", CLUSTER_TIMEOUT_SECONDS="400")

    assert refused.returncode == 1
    assert "outbox.E001" in refused.stderr
    assert "outbox.E002" in refused.stderr
