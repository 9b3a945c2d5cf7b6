"""django-q2 with its own broker on the same Postgres, tuned as `settings_of_django_q2` says."""

import os
from collections.abc import Sequence

import django
from django.core.management import call_command
from django.utils import timezone

from benchmarks.relays.subject import start
from semantix.allinone.process import Child

FUNCTION = "benchmarks.relays.starts.note"


class DjangoQ2:
    def prepare(self) -> None:
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.relays.settings_of_django_q2"
        django.setup()
        call_command("migrate", verbosity=0)

    def publish(self, number: int) -> None:
        from django_q.tasks import async_task

        async_task(FUNCTION, number)

    def publish_many(self, numbers: Sequence[int]) -> None:
        from django_q.conf import Conf
        from django_q.models import OrmQ
        from django_q.signing import SignedPackage

        now = timezone.now()
        OrmQ.objects.bulk_create(
            OrmQ(key=Conf.CLUSTER_NAME, payload=SignedPackage.dumps(_package(number)), lock=now)
            for number in numbers
        )

    def unfinished(self) -> int:
        from django_q.models import OrmQ

        return int(OrmQ.objects.count())

    def worker(self) -> Child:
        return start("manage.py", "qcluster", module=False)

    def workers(self) -> list[Child]:
        return [self.worker()]


def _package(number: int) -> dict[str, object]:
    """As async_task() makes it."""
    return {
        "id": f"{number:032x}",
        "name": f"number-{number}",
        "func": FUNCTION,
        "args": (number,),
        "kwargs": {},
        "started": timezone.now(),
        "ack_failure": True,
    }
