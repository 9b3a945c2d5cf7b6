"""Writes to the collections of several tenants, which Chroma gets at the same time."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest

from memories.background import in_background
from memories.indexing import tenant_calls
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memories
from memories.tenants import Tenant
from outbox import Reject, Unavailable
from outbox.models import Event
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.equality import assert_equal_stores
from tests.support.proxy import Proxy
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

TENANTS = 6


@pytest.fixture
def proxy(settings: Any) -> Iterator[Proxy]:
    with Proxy(settings.CHROMA_URL) as proxy:
        settings.CHROMA_URL = proxy.url
        yield proxy


@pytest.fixture
def tenants(proxy: Proxy) -> list[Tenant]:
    """Tenants that have a collection already: only then is a write one call to Chroma."""
    tenants = [new_tenant() for _ in range(TENANTS)]
    remember(tenants)
    drain()
    return tenants


def remember(tenants: list[Tenant]) -> list[MemoryLog]:
    return create_memories(NewMemory(**tenant._asdict(), task="Fix bug", agent="ada") for tenant in tenants)


def test_chroma_has_the_writes_of_several_tenants_in_hand_at_once(
    proxy: Proxy, tenants: list[Tenant]
) -> None:
    remember(tenants)
    while_slow(proxy)

    for tenant in tenants:
        assert_equal_stores(tenant)


def test_deletions_too(proxy: Proxy, tenants: list[Tenant]) -> None:
    delete_memories([row.id for row in MemoryLog.objects.all()])
    while_slow(proxy)

    for tenant in tenants:
        assert_equal_stores(tenant)


def while_slow(proxy: Proxy) -> None:
    """Deliver until as many calls as there may be are on their way to Chroma, which then get there."""
    proxy.delay(2.0)
    with in_background() as submit:
        delivery = submit(drain)
        wait_until(lambda: proxy.in_hand == tenant_calls.THREADS, seconds=30)
        proxy.heal()
        delivery.result()


def test_an_outage_loses_no_write_and_no_attempt(proxy: Proxy, tenants: list[Tenant]) -> None:
    remember(tenants)
    proxy.refuse()
    drain()
    assert Event.objects.filter(type="vector.stored").count() == TENANTS
    assert not Event.objects.filter(type="embedding.generated", status="pending", attempts__gt=0).exists()

    proxy.heal()
    circuits.close_circuit("chroma")
    drain(through_backoff=True)

    for tenant in tenants:
        assert_equal_stores(tenant)


def test_once_chroma_is_away_no_other_call_begins() -> None:
    begun: list[Tenant] = []

    def call(tenant: Tenant) -> None:
        begun.append(tenant)
        raise Unavailable("chroma", "it is away")

    calls = [tenant_calls.Call(tenant, [], partial(call, tenant)) for tenant in map(numbered, range(50))]
    with pytest.raises(Unavailable):
        list(tenant_calls.succeeded(calls, guard=lambda *_: nullcontext()))
    assert 1 <= len(begun) <= tenant_calls.THREADS


def test_the_error_of_one_call_comes_after_the_success_of_the_others() -> None:
    def call(tenant: Tenant) -> None:
        if tenant == numbered(1):
            raise Reject("too large")

    calls = [tenant_calls.Call(tenant, [], partial(call, tenant)) for tenant in map(numbered, range(4))]
    succeeded = tenant_calls.succeeded(calls, guard=lambda *_: nullcontext(), alone=[numbered(2)])
    assert {next(succeeded) for _ in range(3)} == {numbered(0), numbered(2), numbered(3)}
    with pytest.raises(Reject):
        next(succeeded)


def numbered(number: int) -> Tenant:
    return Tenant("ada", f"project-{number}")
