"""A cluster that is told to stop, as by a rolling restart."""

from pathlib import Path

import pytest
from django.db import transaction

import outbox
from outbox.models import Event
from tests.support.clusters import cluster
from tests.support.outbox_app.models import Effect, Target
from tests.support.published import NOTED, publish, publish_all, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_stopping_finishes_the_current_events_and_returns_the_others(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with cluster(tmp_path) as running:
        in_hand = publish("test.waited_for", file=str(done))
        wait_until(lambda: Effect.objects.filter(event=in_hand.id).exists())
        prefetched = publish_all(NOTED, range(5))
        wait_until(lambda: status_of(*prefetched) == ["claimed"] * 5)

        running.ask_to_stop()
        wait_until(lambda: "stopping" in running.output)
        done.touch()

        assert running.wait_for_end() == 0
    assert status_of(in_hand) == ["delivered"]
    assert status_of(*prefetched) == ["pending"] * 5
    assert set(Event.objects.filter(status="pending").values_list("attempts", flat=True)) == {0}
    assert Effect.objects.count() == 1


def test_a_rolling_restart_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """One cluster stops while another starts, and events are published all the time."""
    versions = dict.fromkeys((f"key-{number}" for number in range(10)), 0)

    def publish_some() -> None:
        """A stream, not a backlog."""
        wait_until(lambda: Event.objects.exclude(status="delivered").count() < 20)
        with transaction.atomic():
            for key in versions:
                versions[key] += 1
                outbox.publish("test.copied", aggregate=("key", key), payload={"version": versions[key]})

    def publish_until(count: int) -> None:
        while Effect.objects.count() < count:
            publish_some()

    with cluster(tmp_path, CLUSTER_WORKERS="2") as old:
        publish_until(50)
        with cluster(tmp_path, CLUSTER_WORKERS="2") as new:
            publish_until(150)
            old.ask_to_stop()
            while old.process.poll() is None:
                publish_some()
            publish_until(300)
            wait_until(lambda: not Event.objects.exclude(status="delivered").exists(), seconds=60)
            assert old.process.poll() == 0
            new.ask_to_stop()
            assert new.wait_for_end() == 0
    assert dict(Target.objects.values_list("key", "version")) == versions
    assert Effect.objects.count() == Event.objects.count() == sum(versions.values())
    assert set(Event.objects.values_list("attempts", flat=True)) == {1}
