"""The tasks that a relay returns, and what a worker does with them."""

from typing import Any

from outbox.cluster.ipc import Packages
from outbox.relay.broker import OutboxBroker, Task
from tests.support.waiting import wait_until


def packages(tasks: list[Task]) -> list[dict[str, Any]]:
    return [Packages.loads(package) for _, package in tasks]


def run(tasks: list[Task]) -> None:
    """Run the tasks as a worker does."""
    for package in packages(tasks):
        package["func"](*package["args"], **package["kwargs"])


def events_in(tasks: list[Task]) -> list[list[int]]:
    """The ids of the events of each task."""
    return [[row.id for row in package["args"][1]] for package in packages(tasks)]


def until_handed_out(broker: OutboxBroker) -> list[Task]:
    """Wait until the broker returns tasks, and return them."""
    return wait_until(broker.dequeue)
