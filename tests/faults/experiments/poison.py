"""Events that kill their worker, fail or hang delay the others little, and die alone after their last attempt.

A cluster gets single events at a steady rate, first good ones only, then with one in a hundred of each bad kind. A
hanging event holds its worker until the cluster's timeout. There are more workers than bad events at a time.
"""

import time
from collections import Counter
from datetime import timedelta

from django.db.models import F, QuerySet

from outbox.models import Event, Failure, Status
from tests.faults.trial import Trial
from tests.support.clusters import cluster
from tests.support.load import percentile
from tests.support.outbox_app.models import Effect
from tests.support.published import publish
from tests.support.waiting import wait_until

TYPE = "test.poisoned"
KINDS = ("kill", "fail", "hang")
ATTEMPTS = 3
ENVIRONMENT = {
    "CLUSTER_WORKERS": "6",
    "CLUSTER_TIMEOUT_SECONDS": "2",
    "OUTBOX_MAX_ATTEMPTS": str(ATTEMPTS),
}
# Milliseconds by which a p99 may always be worse: a busy machine gives a process its turn late.
GRACE_MS = 50.0


def run(trial: Trial) -> None:
    count = trial.size(1_000, quick=40)
    bad = dict(zip(trial.chance.sample(range(count), 3 * max(1, count // 100)), KINDS * count, strict=False))
    with cluster(trial.folder, **ENVIRONMENT) as running:
        wait_until(lambda: len(running.pids("ready for work at")) >= 6, seconds=60)
        publish_steadily(trial, 10, {})  # the first ones of a process take longer
        wait_until(lambda: not open_events().exists(), seconds=60)
        Event.objects.all().delete()
        publish_steadily(trial, count, {})
        wait_until(lambda: not open_events().exists(), seconds=60)
        undisturbed = latencies()
        Event.objects.all().delete()
        publish_steadily(trial, count, bad)
        wait_until(lambda: not open_events().exists(), seconds=120)
        disturbed = latencies()
    report(trial, undisturbed, disturbed)
    kinds = Counter(bad.values())
    trial.counts |= {"events": 2 * count, **{f"{kind}_events": kinds[kind] for kind in KINDS}}
    check(trial, bad)


def publish_steadily(trial: Trial, count: int, bad: dict[int, str]) -> None:
    pause = 1 / trial.size(20.0, quick=40.0)
    for number in range(count):
        payload = {bad[number]: True} if number in bad else {}
        publish(TYPE, id=str(number), **payload)
        time.sleep(pause)


def open_events() -> QuerySet[Event]:
    return Event.objects.filter(type=TYPE, status__in=(Status.PENDING, Status.CLAIMED))


def latencies() -> list[float]:
    """Milliseconds from the commit of each good event to its delivery."""
    good = Event.objects.filter(type=TYPE, payload={}, status=Status.DELIVERED)
    spent = good.annotate(spent=F("delivered_at") - F("created_at")).values_list("spent", flat=True)
    return [each / timedelta(milliseconds=1) for each in spent]


def report(trial: Trial, undisturbed: list[float], disturbed: list[float]) -> None:
    for name, found in (("undisturbed", undisturbed), ("others", disturbed)):
        trial.figures[f"{name}_p50_ms"] = percentile(found, 0.50)
        trial.figures[f"{name}_p99_ms"] = percentile(found, 0.99)
    before, after = trial.figures["undisturbed_p99_ms"], trial.figures["others_p99_ms"]
    trial.expect(
        trial.quick or after <= 2 * before + GRACE_MS,
        f"beside bad events p99 is {after} ms, undisturbed {before} ms",
    )


def check(trial: Trial, bad: dict[int, str]) -> None:
    found = {int(event.aggregateid): event for event in Event.objects.filter(type=TYPE)}
    lives = [number for number in bad if found[number].status != Status.DEAD]
    trial.expect(not lives, f"bad events that are not dead: {lives}")
    tries = {number: found[number].attempts for number in bad if found[number].attempts != ATTEMPTS}
    trial.expect(not tries, f"bad events that were not tried {ATTEMPTS} times: {tries}")
    harmed = [event for number, event in found.items() if number not in bad and not is_unharmed(event)]
    trial.expect(not harmed, f"good events that were harmed: {[str(event) for event in harmed]}")
    handled = Counter(Effect.objects.values_list("event", flat=True))
    lost = [event for number, event in found.items() if number not in bad and not handled[event.id]]
    trial.expect(not lost, f"good events without an effect: {lost}")
    # Their worker died after it had handled them, and before it recorded that.
    trial.counts["handled_again"] = sum(times - 1 for times in handled.values())


def is_unharmed(event: Event) -> bool:
    """Delivered at the first attempt, without a failure."""
    return (event.status, event.attempts) == (Status.DELIVERED, 1) and not Failure.objects.filter(
        event=event
    ).exists()
