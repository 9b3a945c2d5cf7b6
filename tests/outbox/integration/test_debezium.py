"""The outbox as Debezium reads it: by logical replication, with the configuration in docs/how-to/debezium.md."""

import json
import re
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

import outbox
from outbox.models import Event
from outbox.testing import drain, handled
from tests.support.paths import ROOT
from tests.support.pgoutput import Inserted, inserts

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (ROOT / "docs/how-to/debezium.md").read_text()
[PUBLICATION] = re.findall(r"^CREATE PUBLICATION .+;$", PAGE, re.MULTILINE)
CONFIG: dict[str, str] = json.loads(re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)[0])["config"]
ROUTER = {
    name.removeprefix("transforms.outbox."): value
    for name, value in CONFIG.items()
    if name.startswith("transforms.outbox.")
}


@pytest.fixture(autouse=True)
def _slot() -> Iterator[None]:
    # Only the written part of the log is decoded, and the tests' server does not wait until it is written.
    execute("SET synchronous_commit = on")
    execute(PUBLICATION)
    execute("SELECT pg_create_logical_replication_slot(%s, %s)", CONFIG["slot.name"], CONFIG["plugin.name"])
    yield
    execute("SELECT pg_drop_replication_slot(%s)", CONFIG["slot.name"])
    execute(f"DROP PUBLICATION {CONFIG['publication.name']}")
    execute("RESET synchronous_commit")


def execute(sql: str, *parameters: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def decoded() -> list[Inserted]:
    """The changes that the connector receives."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, "
            "'proto_version', '1', 'publication_names', %s)",
            [CONFIG["slot.name"], CONFIG["publication.name"]],
        )
        return list(inserts(bytes(data) for (data,) in cursor.fetchall()))


def publish() -> Event:
    with transaction.atomic():
        return outbox.publish(
            "order.placed",
            aggregate=("order", 42),
            payload={"total": 12, "note": "naïve ✓"},
            headers={"request_id": "req-1"},
        )


def test_the_change_has_the_columns_that_the_router_needs() -> None:
    with handled("order.placed", by=print):
        event = publish()

    [(table, row)] = decoded()

    assert table == CONFIG["table.include.list"]
    assert row[ROUTER["table.field.event.id"]] == str(event.pk)
    assert row[ROUTER["table.field.event.key"]] == "42"
    assert row[ROUTER["route.by.field"]] == "order"
    assert json.loads(row[ROUTER["table.field.event.payload"]] or "") == {"total": 12, "note": "naïve ✓"}
    placed = dict(item.split(":") for item in ROUTER["table.fields.additional.placement"].split(","))
    assert placed == {"type": "header", "headers": "header", "created_at": "header"}
    assert row["type"] == "order.placed"
    assert json.loads(row["headers"] or "") == {"request_id": "req-1"}
    assert row["created_at"]


def test_a_claim_and_a_delivery_send_no_change_that_the_router_reads() -> None:
    with handled("order.placed", by=lambda event: None):
        publish()
        assert len(decoded()) == 1

        assert drain() == 1

    assert decoded() == []


def test_an_event_that_was_rolled_back_is_not_sent() -> None:
    with handled("order.placed", by=print), transaction.atomic():
        publish()
        transaction.set_rollback(True)

    assert decoded() == []


def test_events_are_sent_in_the_order_of_their_commits() -> None:
    with handled("order.placed", by=print):
        events = [publish() for _ in range(3)]

    assert [row["id"] for _, row in decoded()] == [str(event.pk) for event in events]
