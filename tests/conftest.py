import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.test import TestCase, TransactionTestCase
from pytest_django import DjangoDbBlocker

from memories.conversations.buffers import failover
from memories.erasure import run
from memories.index import availability
from outbox.relay.listener import Listener
from tests.support.emptying import empty_the_tables, keep_the_schedules, needs_a_new_session, roll_back
from tests.support.redis_server import RedisServer

TESTS = Path(__file__).parent

TransactionTestCase._fixture_teardown = empty_the_tables  # type: ignore[attr-defined]  # noqa: SLF001
TransactionTestCase._should_reload_connections = needs_a_new_session  # type: ignore[attr-defined]  # noqa: SLF001
TestCase._fixture_teardown = roll_back  # type: ignore[attr-defined]  # noqa: SLF001

# Few tests are about the echo of LISTEN, and a busy machine may need long for it.
Listener.ECHO_SECONDS = 60.0
# An erasure of a few rows takes one share of the work, however busy the machine is.
run.SHARE_SECONDS = 60.0

with suppress(ModuleNotFoundError):  # only the runtime requirements are installed
    import hypothesis

    # Every run generates the same cases. Only `make fuzz` looks for new ones.
    hypothesis.settings.register_profile(
        "short",
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.register_profile("long", deadline=None)
    hypothesis.settings.load_profile("long" if "FUZZ_CASES" in os.environ else "short")


# Some files of the first kinds take most of a minute. If they started last, the other workers would wait for them.
ORDER = ("e2e", "clients", "faults", "outbox", "semantix", "docs", "contract", "memories")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: min(ORDER.index(part) for part in item.path.parts if part in ORDER))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        keep_the_schedules()


@pytest.fixture(autouse=True)
def _chroma_counts_as_available() -> None:
    """After an outage, such as in an earlier test, a search avoids Chroma for a while."""
    availability.reset()


@pytest.fixture(scope="session")
def redis_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_for_all: RedisServer, settings: Any) -> Iterator[RedisServer]:
    """The settings name it as the buffer of conversations. It is empty at first."""
    settings.CONVERSATION_REDIS_TIMEOUT_SECONDS = 20.0
    settings.CONVERSATION_REDIS_URL = redis_for_all.url
    redis_for_all.client.flushall()
    failover.end_pause()
    yield redis_for_all
    failover.end_pause()
