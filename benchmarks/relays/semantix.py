"""Semantix as shipped: `qcluster` with the broker of the outbox and two workers."""

from collections.abc import Sequence

import django
from django.core.management import call_command
from django.db import connection, transaction

from benchmarks.relays.subject import start
from semantix.allinone.process import Child

BATCH = 5000


class Semantix:
    def prepare(self) -> None:
        django.setup()
        call_command("migrate", verbosity=0)

    def publish(self, number: int) -> None:
        import outbox

        with transaction.atomic():
            outbox.publish("benchmark.published", aggregate=("benchmark", number), payload={"number": number})

    def publish_many(self, numbers: Sequence[int]) -> None:
        import outbox

        for begin in range(0, len(numbers), BATCH):
            with transaction.atomic():
                outbox.publish_many(
                    outbox.NewEvent(
                        type="benchmark.published",
                        aggregatetype="benchmark",
                        aggregateid=number,
                        payload={"number": number},
                    )
                    for number in numbers[begin : begin + BATCH]
                )

    def unfinished(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM outbox_event WHERE status IN ('pending', 'claimed')")
            return int(cursor.fetchone()[0])

    def worker(self) -> Child:
        return start("manage.py", "qcluster", module=False)

    def workers(self) -> list[Child]:
        return [self.worker()]
