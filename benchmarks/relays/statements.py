"""The statements of Semantix without its relay: two processes that claim, call the handler and settle.

This is the limit of Postgres and the processor, which both share. Alone, the statements do not recover from a worker
that dies.
"""

import time

import django

from benchmarks.relays.semantix import Semantix
from benchmarks.relays.subject import start
from semantix.allinone.process import Child

REST_SECONDS = 0.001


class Statements(Semantix):
    def workers(self) -> list[Child]:
        return [start("benchmarks.relays.statements") for _ in range(2)]


def work() -> None:
    django.setup()
    from benchmarks.relays.handlers import TYPE, handle
    from outbox.conf import conf
    from outbox.delivery.outcomes import delivered
    from outbox.queue.claim import claim

    while True:
        claimed = claim([TYPE], batch=conf.BATCH_SIZE, retries=0)
        events = claimed.events
        for event in events:
            handle(event)
        if events:
            delivered(claimed.token, [event.id for event in events])
        else:
            time.sleep(REST_SECONDS)


if __name__ == "__main__":
    work()
