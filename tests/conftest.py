from collections.abc import Iterator
from typing import Any

import pytest
from django.test import TransactionTestCase

from memories.conversations import switch
from tests.emptying import empty_the_tables
from tests.redis_server import RedisServer

TransactionTestCase._fixture_teardown = empty_the_tables  # type: ignore[attr-defined]  # noqa: SLF001


@pytest.fixture(scope="session")
def redis_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_for_all: RedisServer, settings: Any) -> Iterator[RedisServer]:
    """Redis takes the turns; empty at first."""
    settings.CONVERSATION_REDIS_URL = redis_for_all.url
    redis_for_all.client.flushall()
    switch.end_pause()
    yield redis_for_all
    switch.end_pause()
