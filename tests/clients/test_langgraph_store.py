"""The store for LangGraph, beside LangGraph's own store in memory: both answer alike."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from langgraph.store.base import BaseStore, GetOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore

from memories.models import MemoryLog
from semantix_client import Semantix
from semantix_client.langgraph import SemantixStore
from tests.clients.conftest import Account
from tests.support.clusters import url_of_the_tests_database

pytestmark = pytest.mark.django_db(transaction=True)

ITEMS = [
    (("docs", "ada"), "one", {"kind": "report", "score": 3, "nested": {"open": True}}),
    (("docs", "ada"), "two", {"kind": "note", "score": 5, "nested": {"open": False}}),
    (("docs", "bob"), "one", {"kind": "report", "score": 4.5}),
    (("chat",), "one", {"text": "hello"}),
]


@pytest.fixture
def store(service: str, account: Account) -> Iterator[SemantixStore]:
    with Semantix(service, account.key, *account.tenant) as client:
        yield SemantixStore(client)


@pytest.fixture(params=["semantix", "memory"])
def any_store(request: pytest.FixtureRequest) -> BaseStore:
    return InMemoryStore() if request.param == "memory" else request.getfixturevalue("store")


def fill(store: BaseStore) -> None:
    for namespace, key, value in ITEMS:
        store.put(namespace, key, value)


def keys(items: Any) -> set[tuple[tuple[str, ...], str]]:
    return {(item.namespace, item.key) for item in items}


def test_an_item_is_put_read_replaced_and_deleted(any_store: BaseStore) -> None:
    any_store.put(("a", "b"), "key", {"n": 1})
    first = any_store.get(("a", "b"), "key")
    any_store.put(("a", "b"), "key", {"n": 2})

    item = any_store.get(("a", "b"), "key")
    assert first is not None
    assert item is not None
    assert (item.value, item.key, item.namespace) == ({"n": 2}, "key", ("a", "b"))
    assert item.updated_at > first.updated_at
    any_store.delete(("a", "b"), "key")
    any_store.delete(("a", "b"), "key")
    assert any_store.get(("a", "b"), "key") is None


@pytest.mark.parametrize(
    ("prefix", "filter", "found"),
    [
        ((), None, {0, 1, 2, 3}),
        (("docs",), None, {0, 1, 2}),
        (("docs", "ada"), None, {0, 1}),
        (("do",), None, set()),
        (("docs",), {"kind": "report"}, {0, 2}),
        (("docs",), {"score": {"$gt": 4}}, {1, 2}),
        (("docs",), {"score": {"$gte": 3, "$lt": 5}}, {0, 2}),
        (("docs",), {"kind": {"$ne": "note"}}, {0, 2}),
        (("docs",), {"nested": {"open": True}}, {0}),
        (("docs",), {"missing": 1}, set()),
    ],
)
def test_items_are_found_by_namespace_and_filter(
    any_store: BaseStore, prefix: tuple[str, ...], filter: Any, found: set[int]
) -> None:
    fill(any_store)

    assert keys(any_store.search(prefix, filter=filter)) == {ITEMS[n][:2] for n in found}


def test_a_filter_finds_an_item_behind_a_hundred_better_hits(store: SemantixStore) -> None:
    for number in range(101):
        store.put(("notes",), f"login {number}", {"text": "login timeout", "kind": "note", "a.b": False})
    store.put(("notes",), "rare", {"text": "login", "kind": "report", "a.b": True})

    [by_text] = store.search(("notes",), query="login timeout", filter={"kind": "report"})
    [by_flag] = store.search(("notes",), query="login timeout", filter={"a.b": True})

    assert by_text.key == by_flag.key == "rare"


def test_pages_have_each_item_once(any_store: BaseStore) -> None:
    fill(any_store)

    pages = [keys(any_store.search((), limit=3, offset=offset)) for offset in (0, 3)]

    assert [len(page) for page in pages] == [3, 1]
    assert pages[0] | pages[1] == {item[:2] for item in ITEMS}


def test_namespaces_are_listed_and_narrowed(any_store: BaseStore) -> None:
    fill(any_store)

    assert any_store.list_namespaces() == [("chat",), ("docs", "ada"), ("docs", "bob")]
    assert any_store.list_namespaces(prefix=("docs",)) == [("docs", "ada"), ("docs", "bob")]
    assert any_store.list_namespaces(suffix=("bob",)) == [("docs", "bob")]
    assert any_store.list_namespaces(prefix=("*", "ada")) == [("docs", "ada")]
    assert any_store.list_namespaces(max_depth=1) == [("chat",), ("docs",)]
    assert any_store.list_namespaces(limit=1, offset=1) == [("docs", "ada")]


def test_a_batch_reads_before_it_writes_and_the_last_write_counts(any_store: BaseStore) -> None:
    any_store.put(("a",), "key", {"n": 1})

    read, *_ = any_store.batch(
        [
            GetOp(("a",), "key"),
            PutOp(("a",), "key", {"n": 2}),
            PutOp(("a",), "key", {"n": 3}),
            SearchOp(("a",)),
        ]
    )

    assert read is not None
    assert read.value == {"n": 1}  # type: ignore[union-attr]
    item = any_store.get(("a",), "key")
    assert item is not None
    assert item.value == {"n": 3}


def test_it_works_asynchronously(any_store: BaseStore) -> None:
    async def work() -> Any:
        await any_store.aput(("a",), "key", {"n": 1})
        return await any_store.aget(("a",), "key"), await any_store.asearch(("a",))

    item, found = asyncio.run(work())

    assert item.value == {"n": 1}
    assert keys(found) == {(("a",), "key")}


def test_items_are_found_by_meaning(service: str, account: Account) -> None:
    with Semantix(service, account.key, *account.tenant) as client:
        store = SemantixStore(client, wait=20)
        store.put(("notes",), "1", {"text": "The login times out behind the proxy"})
        store.put(("notes",), "2", {"text": "Bake sourdough bread"})
        store.put(("other",), "3", {"text": "The login times out behind the proxy"})

        found = store.search(("notes",), query="login timeout", limit=1)

    assert [(item.namespace, item.key) for item in found] == [(("notes",), "1")]
    assert found[0].score is not None


def test_an_item_expires(store: SemantixStore) -> None:
    store.put(("a",), "key", {"n": 1}, ttl=60)

    expires = MemoryLog.objects.get().expires_at
    assert expires is not None
    MemoryLog.objects.update(expires_at="2000-01-01T00:00Z")
    assert store.get(("a",), "key") is None


def test_a_read_extends_the_life_of_an_item(store: SemantixStore) -> None:
    store.put(("a",), "key", {"n": 1}, ttl=60)
    nearly_over = timezone.now() + timedelta(minutes=5)

    def expiry_after(read: Callable[[], object]) -> timedelta:
        MemoryLog.objects.update(expires_at=nearly_over)
        read()
        expires = MemoryLog.objects.get().expires_at
        assert expires is not None
        return expires - nearly_over

    assert expiry_after(lambda: store.get(("a",), "key", refresh_ttl=False)) == timedelta()
    assert expiry_after(lambda: store.get(("a",), "key")) > timedelta(minutes=50)
    assert expiry_after(lambda: store.search(("a",))) > timedelta(minutes=50)


def test_a_store_has_defaults_for_the_ttl_of_its_items(service: str, account: Account) -> None:
    with Semantix(service, account.key, *account.tenant) as client:
        store = SemantixStore(client, ttl={"default_ttl": 5, "refresh_on_read": False})
        store.put(("a",), "key", {"n": 1})

    expires = MemoryLog.objects.get().expires_at
    assert expires is not None
    assert timedelta(minutes=4) < expires - timezone.now() < timedelta(minutes=5)


@pytest.mark.parametrize("label", ["user_1", "userX1", "a%b", "alice\n", "Grüße", "*", " ", 'q"uote', "日本"])
def test_a_label_is_what_it_is(any_store: BaseStore, label: str) -> None:
    any_store.put((label,), "key", {"n": 1})
    any_store.put((f"{label}2",), "key", {"n": 2})
    any_store.put((label, "child"), "key", {"n": 3})

    item = any_store.get((label,), "key")
    assert item is not None
    assert item.value == {"n": 1}
    assert keys(any_store.search((label,))) == {((label,), "key"), ((label, "child"), "key")}
    assert (f"{label}2",) in any_store.list_namespaces()


def test_a_namespace_may_be_a_list(store: SemantixStore) -> None:
    fill(store)

    assert keys(store.search(["docs", "ada"])) == {item[:2] for item in ITEMS[:2]}  # type: ignore[arg-type]
    assert store.list_namespaces(prefix=["docs"]) == [("docs", "ada"), ("docs", "bob")]  # type: ignore[arg-type]


@pytest.fixture
def langgraphs_database() -> Iterator[str]:
    """A database in which LangGraph's own store has made its tables and put items."""
    name = f"langgraph_{uuid4().hex}"
    with psycopg.connect(url_of_the_tests_database(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        parts = urlsplit(url_of_the_tests_database())
        try:
            yield urlunsplit(parts._replace(path=f"/{name}"))
        finally:
            admin.execute(f"DROP DATABASE {name}")


def test_items_of_langgraphs_own_tables_are_imported_once(
    langgraphs_database: str, store: SemantixStore, account: Account, tmp_path: Path
) -> None:
    with PostgresStore.from_conn_string(langgraphs_database) as source:
        source.setup()
        fill(source)
        source.put(("docs",), "temporary", {"n": 1}, ttl=60)
        originals = source.search(())
        first, second = (imported(langgraphs_database, account, tmp_path) for _ in range(2))

    assert (first["stored"], second["stored"], second["unchanged"]) == (5, 0, 5)
    assert keys(store.search(())) == keys(originals)
    for item in originals:
        found = store.get(item.namespace, item.key, refresh_ttl=False)
        assert found is not None
        assert (found.value, found.created_at, found.updated_at) == (
            item.value,
            item.created_at,
            item.updated_at,
        )
    assert MemoryLog.objects.filter(expires_at__isnull=False).count() == 1


def imported(database: str, account: Account, folder: Path) -> dict[str, Any]:
    out = StringIO()
    user, project = account.tenant
    options = {"user_id": user, "project_id": project, "bad_lines": str(folder / "bad.jsonl")}
    call_command("import_langgraph", database, **options, json=True, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def test_a_database_without_langgraphs_table_is_told(account: Account) -> None:
    with pytest.raises(CommandError, match="no table `store`"):
        call_command("import_langgraph", url_of_the_tests_database(), user_id="a", project_id="b")
