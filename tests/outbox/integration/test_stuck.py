"""Events that wait behind a slow one in the same task are returned, and other workers handle them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread

import pytest
from django.db import OperationalError, connection, transaction

from outbox import ClaimedEvent
from outbox.cluster import workers
from outbox.cluster.workers import Workers
from outbox.delivery import stuck
from outbox.delivery.deliver import Delivery, deliver
from outbox.models import Event
from outbox.testing import handled
from tests.support.busy_workers import worker
from tests.support.parallel import in_parallel
from tests.support.published import NOTED, claim_all, ids, publish_all, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Hanging:
    """A worker whose handler hangs at the first event until `release` is called."""

    def __init__(self) -> None:
        claimed = claim_all()
        self.handled: list[int] = []
        self._first, self._events = claimed.events[0].id, claimed.events
        self._released = Flag()
        self.delivery = Delivery(
            claimed.token,
            begin_before=float("inf"),
            probing=(),
            suspects=False,
            on_unit=lambda start, size: None,
        )
        self._thread = Thread(target=self._work)

    def handle(self, event: ClaimedEvent) -> None:
        self.handled.append(event.id)
        if event.id == self._first:
            assert self._released.wait(60)

    def release(self) -> None:
        self._released.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: self.handled)

    def _work(self) -> None:
        try:
            self.delivery.run(self._events)
        finally:
            connection.close()


@contextmanager
def hanging() -> Iterator[Hanging]:
    hangs = Hanging()
    with handled(NOTED, by=hangs.handle):
        hangs.start()
        try:
            yield hangs
        finally:
            hangs.release()


def test_what_waits_behind_a_slow_event_is_handled_by_another_worker_once() -> None:
    slow, *others = publish_all(NOTED, "abcd")
    with hanging() as hangs:
        assert hangs.delivery.return_waiting(0) == 3
        assert [event.attempts for event in Event.objects.order_by("id")] == [1, 0, 0, 0]

        claimed = claim_all()
        assert ids(claimed) == [event.id for event in others]
        deliver(claimed.token, claimed.events)
        assert status_of(slow, *others) == ["claimed", "delivered", "delivered", "delivered"]

    assert status_of(slow) == ["delivered"]
    assert Counter(hangs.handled) == Counter(event.id for event in (slow, *others))
    assert {event.attempts for event in Event.objects.all()} == {1}


def test_a_worker_that_goes_on_after_a_slow_event_leaves_returned_events_alone() -> None:
    slow, *others = publish_all(NOTED, "abc")
    with hanging() as hangs:
        hangs.delivery.return_waiting(0)
        again = claim_all()

    assert hangs.handled == [slow.id]
    assert status_of(slow, *others) == ["delivered", "claimed", "claimed"]
    assert set(Event.objects.filter(status="claimed").values_list("claim_token", flat=True)) == {again.token}


def test_nothing_is_returned_behind_a_call_that_is_not_slow() -> None:
    slow, *others = publish_all(NOTED, "abc")
    with hanging() as hangs:
        assert hangs.delivery.return_waiting(60) == 0

    assert hangs.handled == [slow.id, *(event.id for event in others)]
    assert hangs.delivery.return_waiting(0) == 0
    assert status_of(slow, *others) == ["delivered"] * 3


def test_events_that_could_not_be_returned_are_handled_where_they_are() -> None:
    slow, *others = publish_all(NOTED, "abc")

    def return_waiting(_: int) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1ms'")
            hangs.delivery.return_waiting(0)

    with hanging() as hangs, transaction.atomic():
        Event.objects.select_for_update().get(id=others[0].id)
        with pytest.raises(OperationalError):
            in_parallel(1, return_waiting)

    assert hangs.handled == [slow.id, *(event.id for event in others)]
    assert status_of(slow, *others) == ["delivered"] * 3


def test_events_wait_longer_behind_a_slow_one_while_no_other_worker_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, *others = publish_all(NOTED, "abc")
    known = Workers()
    monkeypatch.setattr(stuck, "VERY_SLOW_SECONDS", 1000.0)
    with hanging() as hangs:
        wait_until(lambda: hangs.delivery.seconds_of_call > stuck.SLOW_SECONDS)
        # Only now: the delivery's own watch could look while a worker has begun and not yet named its task.
        monkeypatch.setattr(workers, "_shared", known)
        with worker(known, "test.noted #7"):
            stuck.look(hangs.delivery)
            assert status_of(*others) == ["claimed", "claimed"]
        with worker(known, ""):
            stuck.look(hangs.delivery)
            assert status_of(slow, *others) == ["claimed", "pending", "pending"]
