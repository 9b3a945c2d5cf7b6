"""The outbox's own writes need not wait for the disk. A transaction of somebody else waits as it did before."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection, transaction

import outbox
from memories.indexing.derived import derived_write
from outbox.delivery import outcomes
from outbox.models import Event
from tests.support.published import NOTED, claim_all, publish

pytestmark = pytest.mark.django_db(transaction=True)

# Notes the setting at the end of each statement that changes events, which is the setting of its commit.
WATCH = """
CREATE TABLE noted (setting text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON outbox_event FOR EACH STATEMENT EXECUTE FUNCTION note();
"""


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def setting() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        return str(cursor.fetchone()[0])


@pytest.fixture
def noted() -> Iterator[Callable[[], list[str]]]:
    """The settings under which events were changed so far. PostgreSQL's default is on; the tests' server has off."""
    execute("SET synchronous_commit TO on")

    def read() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM noted RETURNING setting")
            return [setting for (setting,) in cursor.fetchall()]

    execute(WATCH)
    yield read
    execute("DROP TRIGGER note ON outbox_event; DROP FUNCTION note; DROP TABLE noted")
    connection.close()


def record() -> None:
    outbox.record("test.recorded", aggregate=("thing", 1), payload={})


def derive() -> None:
    event = outbox.NewEvent(type=NOTED, aggregatetype="thing", aggregateid="1", payload={})
    outbox.publish_derived(None, {}, [event])


def claim() -> None:
    publish()
    assert claim_all().rows


def deliver() -> None:
    event = publish()
    token = claim_all().token
    assert outcomes.delivered(token, [event.id])


def fail() -> None:
    event = publish()
    token = claim_all().token
    assert outcomes.failed(token, [event.id], ValueError("no"))


@pytest.mark.parametrize(
    ("write", "last"), [(record, "off"), (derive, "off"), (claim, "off"), (deliver, "off"), (fail, "on")]
)
def test_a_write_that_may_be_lost_does_not_wait_for_the_disk(
    noted: Callable[[], list[str]], write: Callable[[], None], last: str
) -> None:
    write()

    assert noted()[-1] == last
    assert setting() == "on"


@pytest.mark.parametrize("write", [record, derive, claim, deliver, fail])
def test_the_same_write_leaves_somebodys_transaction_as_it_was(
    noted: Callable[[], list[str]], write: Callable[[], None]
) -> None:
    with transaction.atomic():
        write()
        assert setting() == "on"

    assert set(noted()) == {"on"}


def test_a_transaction_without_autocommit_is_somebodys_too(noted: Callable[[], list[str]]) -> None:
    transaction.set_autocommit(False)
    try:
        record()
        assert setting() == "on"
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


@pytest.mark.usefixtures("noted")
def test_derived_data_does_not_wait_for_the_disk_in_a_transaction_of_its_own() -> None:
    with derived_write():
        assert setting() == "off"

    assert setting() == "on"


@pytest.mark.usefixtures("noted")
def test_derived_data_inside_somebodys_transaction_leaves_it_as_it_was() -> None:
    with transaction.atomic():
        with derived_write():
            Event.objects.create(type=NOTED, aggregatetype="thing", aggregateid="1", payload={})
        assert setting() == "on"
