"""A database whose locale knows no letters beyond ASCII, and terms that such a server wrote."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from memories.checks import locale_without_letters
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search.lexical import lexical_search, schema
from memories.search.lexical.letters import refresh_terms
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def database_of_locale_c() -> Iterator[None]:
    """Let the connection use a database that was made with the locale C."""
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}_c TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    connection.close()
    connection.settings_dict["NAME"] = f"{name}_c"
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}_c")


def test_an_operator_is_told_of_the_locale_c() -> None:
    with database_of_locale_c():
        (found,) = locale_without_letters()

    assert "The locale of the database (C)" in str(found)
    assert "back-up.md#another-locale" in str(found)


def test_nobody_is_told_of_a_locale_that_knows_letters() -> None:
    assert list(locale_without_letters()) == []


def test_terms_that_a_server_of_the_locale_c_wrote_are_written_again_and_others_are_not() -> None:
    tenant = new_tenant()
    (row,) = create_memories([NewMemory(**tenant._asdict(), task="ПРИВЕТ", agent="ann", raw_data={})])
    assert not refresh_terms()

    former = terms_written_with_the_locale_c(row)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE memory_terms SET keys = %s, counts = %s WHERE memory_id = %s", [*former, row.id]
        )
    assert lexical_search(tenant, "привет", 10) == []

    assert refresh_terms()
    assert [found.memory_id for found in lexical_search(tenant, "привет", 10)] == [row.id]


def terms_written_with_the_locale_c(row: MemoryLog) -> tuple[list[int], list[int]]:
    """Return the keys and counts that a server of the locale C would store for the memory."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM memory_terms_secret")
        (secret,) = cursor.fetchone()
    with database_of_locale_c(), connection.cursor() as cursor:
        cursor.execute(schema.CREATE_FUNCTIONS)
        cursor.execute(
            "SELECT keys, counts FROM memory_terms_of(memory_term_seed(%s, %s, %s), %s, %s, %s, '{}')",
            [secret, row.user_id, row.project_id, row.task, row.agent, row.date],
        )
        keys, counts = cursor.fetchone()
    return keys, counts
