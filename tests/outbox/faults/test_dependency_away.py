"""A dependency becomes unavailable and answers again, under real clusters."""

from pathlib import Path

import pytest

from outbox.models import Circuit, Event, Failure
from tests.support.clusters import cluster
from tests.support.outbox_app.models import Away, Effect
from tests.support.published import NOTED, publish, publish_all, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_events_wait_for_a_dependency_and_are_delivered_when_it_answers(tmp_path: Path) -> None:
    Away.objects.create(dependency="oven")
    pauses = {"OUTBOX_CIRCUIT_BASE_SECONDS": "0.2", "OUTBOX_CIRCUIT_CAP_SECONDS": "0.5"}
    with cluster(tmp_path, **pauses), cluster(tmp_path, **pauses):
        waiting = publish_all("test.baked", range(300))
        wait_until(lambda: Circuit.objects.filter(failures__gte=4).exists())
        other = publish(NOTED)
        wait_until(lambda: status_of(other) == ["delivered"])
        assert set(status_of(*waiting)) <= {"pending", "claimed"}
        Effect.objects.all().delete()

        Away.objects.all().delete()

        wait_until(lambda: set(status_of(*waiting)) == {"delivered"}, seconds=60)
    assert Effect.objects.count() == 300
    assert set(Event.objects.values_list("attempts", flat=True)) == {1}
    assert not Failure.objects.exists()
    assert Circuit.objects.get().opened_at is None
