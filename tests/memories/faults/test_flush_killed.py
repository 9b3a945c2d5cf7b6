"""The flusher is killed at each of its steps; each turn is then in the memories once, and none waits.

It is held at a step from outside, by a lock or by Redis standing still, and nothing in it knows of the tests.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings as project
from django.db import connection

from memories.models import MemoryLog
from outbox.models import Event
from tests.support.conversations import Chat, flush_all
from tests.support.processes import ROOT, environment
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE %s AND pid <> pg_backend_pid()
"""


@contextmanager
def flusher(redis_url: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """manage.py flush_conversations, patient with a Redis that stands still. Killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "flush_conversations", "--idle-minutes", "0"],
        cwd=ROOT,
        env=environment() | {"CONVERSATION_REDIS_URL": redis_url, "CONVERSATION_REDIS_TIMEOUT_SECONDS": "60"},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def another_connection() -> Iterator[psycopg.Connection]:
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    with psycopg.connect(**parameters) as other:
        yield other


@contextmanager
def memories_locked() -> Iterator[psycopg.Connection]:
    """Nobody can store a memory. Leaving ends it, if `rollback()` has not before."""
    with another_connection() as other:
        other.execute("LOCK TABLE memory_logs IN SHARE MODE")
        yield other
        other.rollback()


def waits_for_a_lock(start: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [f"%{start}%"])
        return bool(cursor.fetchone()[0])


def killed(process: "subprocess.Popen[bytes]") -> None:
    """And its statement with it: a server process that waits for a lock does not see that its client is gone."""
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with connection.cursor() as cursor:
        cursor.execute(WAITING.replace("count(*)", "pg_terminate_backend(pid)"), ["%"])
    wait_until(lambda: not waits_for_a_lock(""))


def each_is_saved_once(chats: list[Chat]) -> None:
    flush_all()
    assert [chat.saved for chat in chats] == [["one", "two"]] * len(chats)
    assert [chat.contents for chat in chats] == [["one", "two"]] * len(chats)
    assert [chat.transcript.waiting for chat in chats] == [0] * len(chats)
    assert [chat.transcript.gaps for chat in chats] == [[]] * len(chats)
    assert Event.objects.filter(type="memory_log.stored").count() == len(chats)


def talk(number: int = 3) -> list[Chat]:
    chats = [Chat() for _ in range(number)]
    for chat in chats:
        chat.say("one")
        chat.say("two")
    return chats


@pytest.mark.parametrize("buffer", ["postgres", "redis"])
def test_killed_before_the_save_is_committed(request: pytest.FixtureRequest, buffer: str) -> None:
    if buffer == "redis":
        request.getfixturevalue("redis_server")
    chats = talk()

    with memories_locked(), flusher(project.CONVERSATION_REDIS_URL) as process:
        wait_until(lambda: waits_for_a_lock("INSERT INTO"))
        killed(process)

    assert not MemoryLog.objects.exists()
    assert [chat.contents for chat in chats] == [["one", "two"]] * 3
    each_is_saved_once(chats)


def test_killed_after_the_commit_and_before_redis_is_trimmed(redis_server: RedisServer) -> None:
    chats = talk()

    with memories_locked() as lock, flusher(redis_server.url) as process:
        wait_until(lambda: waits_for_a_lock("INSERT INTO"))
        redis_server.client.client_pause(60_000, all=False)  # writes wait, and go when their client goes
        lock.rollback()
        wait_until(lambda: int(redis_server.client.info("clients")["blocked_clients"]) > 0)
        killed(process)
    wait_until(lambda: int(redis_server.client.info("clients")["blocked_clients"]) == 0)
    redis_server.client.client_unpause()

    assert [chat.saved for chat in chats] == [["one", "two"]] * 3
    assert [chat.row.in_redis for chat in chats] == [True] * 3
    each_is_saved_once(chats)
    assert [chat.row.in_redis for chat in chats] == [False] * 3


def test_killed_after_redis_is_trimmed_and_before_the_block_is_given_back(redis_server: RedisServer) -> None:
    chats = talk()

    with memories_locked() as lock, another_connection() as rows, flusher(redis_server.url) as process:
        wait_until(lambda: waits_for_a_lock("INSERT INTO"))
        redis_server.client.client_pause(60_000, all=False)
        lock.rollback()
        wait_until(lambda: int(redis_server.client.info("clients")["blocked_clients"]) > 0)
        rows.execute("SELECT FROM conversations FOR UPDATE")
        redis_server.client.client_unpause()
        wait_until(lambda: waits_for_a_lock("SET in_redis = false"))
        killed(process)
        rows.rollback()

    assert [chat.row.in_redis for chat in chats] == [True] * 3
    each_is_saved_once(chats)
    assert [chat.say("three").receipt.first for chat in chats] == [3] * 3


def test_a_turn_between_the_kill_and_the_next_flush_is_numbered_on(redis_server: RedisServer) -> None:
    [chat] = talk(1)

    with memories_locked(), flusher(redis_server.url) as process:
        wait_until(lambda: waits_for_a_lock("INSERT INTO"))
        chat.say("three")  # also while it is held, without waiting for it
        killed(process)
    chat.say("four")

    flush_all()
    assert chat.saved == ["one", "two", "three", "four"]
