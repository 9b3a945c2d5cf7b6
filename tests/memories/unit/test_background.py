"""The second thread of a search."""

from contextvars import ContextVar
from threading import Event, current_thread

from memories.background import in_background

name = ContextVar("name", default="nobody")


def test_the_next_caller_gets_the_thread_with_its_own_context() -> None:
    found = []
    for caller in ("ann", "bob"):
        name.set(caller)
        with in_background() as submit:
            found.append((submit(name.get).result(), submit(current_thread).result().ident))

    assert [who for who, _ in found] == ["ann", "bob"]
    assert len({thread for _, thread in found}) == 1


def test_callers_at_the_same_time_have_a_thread_each() -> None:
    with in_background() as one, in_background() as other:
        begun = Event()
        waiting = one(begun.wait, 20)
        other(begun.set)

        assert waiting.result()


def test_at_the_end_all_calls_are_done() -> None:
    done: list[int] = []
    with in_background() as submit:
        for number in range(3):
            submit(done.append, number)

    assert done == [0, 1, 2]
