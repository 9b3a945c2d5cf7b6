from collections.abc import Iterator

import pytest

from outbox.relay.broker import OutboxBroker


@pytest.fixture
def broker() -> Iterator[OutboxBroker]:
    broker = OutboxBroker()
    yield broker
    broker.listener.close()


@pytest.fixture
def warm(broker: OutboxBroker) -> OutboxBroker:
    """A broker that listens and has no work left."""
    while broker.dequeue() or not broker.listener.hears:
        pass
    return broker
