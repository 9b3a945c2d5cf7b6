"""A database whose locale knows no letters beyond ASCII, and terms that such a server wrote."""

from collections.abc import Iterator

import pytest
from django.db import connection

from memories.checks import locale_without_letters
from memories.records.services import NewMemory, create_memories
from memories.search.lexical import lexical_search
from memories.search.lexical.letters import refresh_terms
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
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


def test_an_operator_is_told_of_the_locale_c(database_of_locale_c: None) -> None:
    (found,) = locale_without_letters()

    assert "The locale of the database (C)" in str(found)
    assert "back-up.md#another-locale" in str(found)


def test_nobody_is_told_of_a_locale_that_knows_letters() -> None:
    assert list(locale_without_letters()) == []


def test_terms_of_another_locale_are_written_again_and_others_are_not() -> None:
    tenant = new_tenant()
    (row,) = create_memories([NewMemory(**tenant._asdict(), task="Привет", agent="ann", raw_data={})])

    assert not refresh_terms()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memory_terms SET keys = '{1}', counts = '{1}' WHERE memory_id = %s", [row.id])
    assert lexical_search(tenant, "привет", 10) == []

    assert refresh_terms()
    assert [found.memory_id for found in lexical_search(tenant, "привет", 10)] == [row.id]
