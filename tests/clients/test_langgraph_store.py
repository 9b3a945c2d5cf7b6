"""The store for LangGraph, beside LangGraph's own store in memory: both answer alike."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.store.base import BaseStore, GetOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from memories.models import MemoryLog
from semantix_client import Semantix
from semantix_client.langgraph import SemantixStore
from tests.clients.conftest import Account

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
