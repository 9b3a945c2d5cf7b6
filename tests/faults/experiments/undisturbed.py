"""Without any fault, a cluster delivers each event of several writers once: what the other experiments compare with."""

import time

from outbox.models import Event, Status
from tests.faults.trial import Trial
from tests.support.clusters import cluster
from tests.support.outbox_app.models import Effect
from tests.support.parallel import in_parallel
from tests.support.published import publish_all
from tests.support.waiting import wait_until

WRITERS = 4


def run(trial: Trial) -> None:
    each = trial.size(2_500, quick=50)
    trial.counts["events"] = WRITERS * each
    with cluster(trial.folder, CLUSTER_WORKERS="2", LOG_LEVEL="INFO"):
        started = time.monotonic()
        in_parallel(
            WRITERS, lambda writer: publish_all("test.noted", range(writer * each, (writer + 1) * each))
        )
        wait_until(lambda: not Event.objects.exclude(status=Status.DELIVERED).exists(), seconds=120)
        trial.figures["drain_s"] = round(time.monotonic() - started, 2)
    trial.expect(Effect.objects.count() == WRITERS * each, "an event had no effect, or two")
