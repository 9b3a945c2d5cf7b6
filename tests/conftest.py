import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.test import TransactionTestCase

from memories.conversations import switch
from memories.index import presence
from outbox.listening import Listener
from tests.emptying import empty_the_tables
from tests.redis_server import RedisServer

TESTS = Path(__file__).parent

TransactionTestCase._fixture_teardown = empty_the_tables  # type: ignore[attr-defined]  # noqa: SLF001

# A busy machine may need long for what is not what a test is about.
Listener.ECHO_SECONDS = 60.0

with suppress(ModuleNotFoundError):  # where only what runs the service is installed
    import hypothesis

    # The same run each time, however slow; only a long one (`make fuzz`) goes where nobody was.
    hypothesis.settings.register_profile(
        "short",
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.register_profile("long", deadline=None)
    hypothesis.settings.load_profile("long" if "FUZZ_CASES" in os.environ else "short")


# Of the first of these a file may take most of a minute: begun last, it would be waited for.
ORDER = ("e2e", "faults", "outbox", "unit", "contract", "integration")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(item.path.relative_to(TESTS).parts[0]))


@pytest.fixture(autouse=True)
def _chroma_is_asked_afresh() -> None:
    """A search leaves Chroma alone for a while after it was away, as in some test before."""
    presence.forget()


@pytest.fixture(scope="session")
def redis_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_for_all: RedisServer, settings: Any) -> Iterator[RedisServer]:
    """Redis takes the turns; empty at first."""
    settings.CONVERSATION_REDIS_TIMEOUT_SECONDS = 20.0
    settings.CONVERSATION_REDIS_URL = redis_for_all.url
    redis_for_all.client.flushall()
    switch.end_pause()
    yield redis_for_all
    switch.end_pause()
