"""One of two machines is cut off amid its claims and comes back: all is delivered, and its late word changes nothing.

The machine is a network namespace where this process may make one, else a proxy that keeps silent. Neither PostgreSQL
nor the machine hears that the other is gone. The living cluster delivers what the lost one had claimed within 20 s.
"""

import time
from collections import Counter

from outbox.models import Event, Relay, Status
from tests.faults.trial import Trial
from tests.support.clusters import Cluster, cluster, url_of_the_tests_database
from tests.support.machine import Machine, machine
from tests.support.outbox_app.models import Effect
from tests.support.published import publish_all
from tests.support.waiting import wait_until

GOAL_SECONDS = 20.0
# Small batches, so that both clusters have some.
ENVIRONMENT = {"LOG_LEVEL": "WARNING", "CLUSTER_WORKERS": "2", "OUTBOX_BATCH_SIZE": "20"}


def run(trial: Trial) -> None:
    trial.counts |= {"cuts": 0, "events": 0, "claimed_by_the_lost_machine": 0}
    with machine(url_of_the_tests_database()) as place:
        trial.counts["network_namespaces"] = len(place.argv) and 1
        with (
            cluster(trial.folder, wait=False, **ENVIRONMENT) as near,
            cluster(trial.folder, database_url=place.database_url, argv=place.argv, **ENVIRONMENT) as distant,
        ):
            near.wait_until_it_works()
            relay = Relay.objects.get(pid=distant.relay_pid())
            for _ in range(trial.size(5, quick=1)):
                cut_off(trial, place, relay)
                come_back(trial, place, distant, relay)
    effects = Counter(Effect.objects.values_list("event", flat=True))
    trial.expect(len(effects) == trial.counts["events"], "an event has no effect")
    # Handled by the lost machine, which could not say so.
    trial.counts["handled_again"] = effects.total() - len(effects)
    attempts = set(Event.objects.filter(type="test.slow").values_list("status", "attempts"))
    trial.expect(attempts == {("delivered", 1)}, f"an event lost an attempt: {attempts}")


def publish_backlog(trial: Trial) -> None:
    count = trial.size(2_000, quick=150)
    start = trial.counts["events"]
    publish_all("test.slow", [f"thing-{start + number}" for number in range(count)])
    trial.counts["events"] += count


def open_events() -> int:
    return Event.objects.filter(status__in=(Status.PENDING, Status.CLAIMED)).count()


def cut_off(trial: Trial, place: Machine, relay: Relay) -> None:
    claimed = Event.objects.filter(status=Status.CLAIMED, relay=relay.id)

    def has_claimed() -> bool:
        if not open_events():
            publish_backlog(trial)
        return claimed.exists()

    wait_until(has_claimed, seconds=60)
    place.cut()
    cut_at = time.monotonic()
    trial.counts["cuts"] += 1
    lost = list(claimed.values_list("id", flat=True))
    trial.counts["claimed_by_the_lost_machine"] += len(lost)
    if trial.quick:  # it comes back before it is taken for dead
        return
    wait_until(lambda: not Event.objects.filter(id__in=lost).exclude(status=Status.DELIVERED).exists())
    seconds = round(time.monotonic() - cut_at, 1)
    trial.figures["slowest_delivery_s"] = max(seconds, trial.figures.get("slowest_delivery_s", 0.0))
    trial.expect(seconds <= GOAL_SECONDS, f"what it had claimed was delivered {seconds} s after the cut")
    wait_until(lambda: open_events() == 0)


def come_back(trial: Trial, place: Machine, distant: Cluster, relay: Relay) -> None:
    """Its cluster takes part again, and both deliver on."""
    before = settled()
    place.rejoin()
    wait_until(lambda: Relay.objects.filter(id=relay.id, ended_at=None).exists(), seconds=60)
    publish_backlog(trial)
    wait_until(lambda: open_events() == 0, seconds=120)
    trial.expect(distant.process.poll() is None, "the cluster that was cut off has ended")
    changed = {id: at for id, at in before.items() if Event.objects.get(id=id).delivered_at != at}
    trial.expect(not changed, f"the late word of the lost machine changed {len(changed)} events")


def settled() -> dict[int, object]:
    """When some of the delivered events were delivered."""
    found = Event.objects.filter(status=Status.DELIVERED).order_by("-id")
    return dict(found.values_list("id", "delivered_at")[:200])
