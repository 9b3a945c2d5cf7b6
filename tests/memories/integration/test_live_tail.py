"""The tail and the reader: nothing is lost between them, and one that is behind holds up nobody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from memories.auth.access import EVERYTHING, Access
from memories.live import reader as reading
from memories.live import tail as tailing
from memories.live.following import Heartbeat, follow
from memories.live.reader import Start
from memories.live.tail import Tail
from memories.live.update import Update
from outbox.queue.stream import Position
from tests.support.live import store
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

START = Start(Position(0, 0), is_reset=False)


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "LINGER_SECONDS", 0.0)


def run(test: Callable[[Tail], Awaitable[None]]) -> None:
    """Run a test with a tail of its own, in a loop of its own."""

    async def bounded() -> None:
        tail = Tail()
        try:
            async with asyncio.timeout(120):
                await test(tail)
        finally:
            if task := tail._task:  # noqa: SLF001
                await task
            await tail.reader.close()
            await sync_to_async(lambda: connection.close())()  # in the thread that opened it

    asyncio.run(bounded())


record = sync_to_async(store)


async def take(updates: AsyncIterator[Any], count: int) -> list[Update]:
    """The next updates, without heartbeats."""
    found: list[Update] = []
    async for item in updates:
        if not isinstance(item, Heartbeat):
            found.append(item)
        if len(found) == count:
            break
    return found


def test_a_client_that_comes_while_the_last_one_leaves_hears_at_once() -> None:
    async def test(tail: Tail) -> None:
        tenant = new_tenant()
        for number in range(30):
            async with tail:
                pass
            # The tail is at some point of closing by now, a different one each time.
            await asyncio.sleep(number / 1000)
            async with tail:
                updates = follow(tail, EVERYTHING, await tail.reader.start(None), heartbeat=3600)
                await record(tenant, number)
                [update] = await take(updates, 1)
                assert f'"memory_id": {number}' in update.data

    run(test)


def test_a_client_that_is_behind_reads_its_own_tenants_events_only() -> None:
    async def test(tail: Tail) -> None:
        alice, bob = new_tenant(), new_tenant()
        await record(bob, 1, count=3 * reading.SPAN)
        await record(alice, 1, count=2)

        async with tail:
            page = await tail.reader.after(START.position, Access(*alice))
            assert page.updates == []
            assert page.end is not None, "the reader goes on after the events of others"

            updates = await take(follow(tail, Access(*alice), START, heartbeat=3600), 2)
            assert [update.user_id for update in updates] == [alice.user_id] * 2

    run(test)


def test_clients_that_are_behind_hold_up_nobody_who_is_not() -> None:
    async def test(tail: Tail) -> None:
        tenant = new_tenant()
        async with tail:
            updates = follow(tail, EVERYTHING, Start(tail.floor, is_reset=False), heartbeat=3600)
            for _ in range(reading.CONNECTIONS):  # all that clients that are behind may use
                await tail.reader._slots.acquire()  # noqa: SLF001
            await record(tenant, 7)

            [update] = await take(updates, 1)

        assert update.user_id == tenant.user_id

    run(test)


def test_nothing_is_lost_or_doubled_from_the_table_to_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SPAN", 7)
    monkeypatch.setattr(tailing, "RING", 40)

    async def test(tail: Tail) -> None:
        tenant = new_tenant()
        await record(tenant, 0, count=100)
        async with tail:
            updates = follow(tail, Access(*tenant), START, heartbeat=3600)
            found = await take(updates, 50)
            for number in range(100, 200, 10):
                await record(tenant, number, count=10)
                found += await take(updates, 10)
            found += await take(updates, 50)

        assert [memory_id(update) for update in found] == list(range(200))

    run(test)


def memory_id(update: Update) -> int:
    return int(update.data.partition('"memory_id": ')[2].split(",")[0].rstrip("}"))


def test_a_connection_that_died_while_it_was_idle_is_replaced() -> None:
    async def test(tail: Tail) -> None:
        await tail.reader.newest()
        await sync_to_async(end_idle_connections)()

        assert await tail.reader.newest()

    run(test)


def end_idle_connections() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
