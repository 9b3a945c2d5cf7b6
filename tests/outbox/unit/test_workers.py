"""The shared memory that says what each worker has in hand, and how the dead ones ended."""

import os

from outbox.cluster import workers
from outbox.cluster.workers import Workers
from tests.support.busy_workers import worker


def shown(known: Workers) -> list[tuple[int, str]]:
    return [(found.pid, found.task) for found in known.in_hand()]


def test_each_worker_has_a_place_until_it_dies() -> None:
    known = Workers()
    with worker(known, "test.noted #1") as first:
        with worker(known, "test.noted #2") as second:
            assert sorted(shown(known)) == sorted([(first, "test.noted #1"), (second, "test.noted #2")])
        assert shown(known) == [(first, "test.noted #1")]
        with worker(known, "") as third:
            assert (third, "") in shown(known)
    assert shown(known) == []


def test_a_long_name_is_cut_and_the_time_starts_again() -> None:
    known = Workers()
    known.begin("ü" * 200)
    [long] = known.in_hand()
    known.begin("test.noted #3")

    [short] = known.in_hand()

    assert set(long.task) == {"ü"}
    assert (short.pid, short.task) == (os.getpid(), "test.noted #3")
    assert 0 <= short.seconds < 60


def test_another_worker_is_idle_if_it_lives_and_has_nothing_in_hand() -> None:
    known = Workers()
    known.begin("")
    assert not known.is_another_idle()
    with worker(known, "test.noted #1"):
        assert not known.is_another_idle()
        with worker(known, ""):
            assert known.is_another_idle()
        assert not known.is_another_idle()


def test_a_label_that_is_being_written_ends_before_its_first_zero_byte() -> None:
    assert workers.text_of(b"test.noted #1\0\0d #2") == "test.noted #1"
    assert workers.text_of(b"\0est.noted") == ""
    assert workers.text_of("ü".encode()[:1]) == ""


def test_no_more_workers_than_places_are_shown() -> None:
    known = Workers()
    for place in known._places:  # noqa: SLF001
        place.pid = os.getppid()

    known.begin("test.noted #1")

    assert {pid for pid, _ in shown(known)} == {os.getppid()}


def test_how_a_worker_ended() -> None:
    known = Workers()
    for pid, code in ((7, -9), (8, 3), (9, None)):
        known.note_end(pid, code)

    assert [known.how_it_ended(pid) for pid in (7, 8, 9, 10)] == [
        "was killed (signal 9)",
        "ended with exit code 3",
        "ended",
        "ended",
    ]
    assert [known.was_killed_by_nine(pid) for pid in (7, 8)] == [True, False]


def test_only_the_last_ends_are_remembered() -> None:
    known = Workers()
    for pid in range(1, workers.ENDS + 2):
        known.note_end(pid, -9)

    assert known.how_it_ended(1) == "ended"
    assert known.how_it_ended(workers.ENDS + 1) == "was killed (signal 9)"
