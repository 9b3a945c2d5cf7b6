"""Watched parts: a part that ends by itself is restarted."""

import errno
import os
import re
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from semantix.allinone import restarting, run
from semantix.allinone.errors import StartError
from semantix.allinone.process import Child
from semantix.allinone.service import Program
from semantix.allinone.service_group import ServiceGroup
from semantix.web.parts import Part
from tests.support.waiting import wait_until


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def reported() -> list[Sequence[Part]]:
    """Each change of the failing parts."""
    return []


@pytest.fixture
def group(said: list[str], reported: list[Sequence[Part]]) -> Iterator[ServiceGroup]:
    group = ServiceGroup(said.append, reported.append)
    yield group
    group.stop()


def program(*scripts: str) -> Program:
    """A program that runs one script per start, and the last script at all later starts."""
    left = list(scripts)

    def launch() -> Child:
        script = left.pop(0) if len(left) > 1 else left[0]
        if script == "cannot":
            raise StartError("Part cannot start")
        if script == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return Child("Part", ["sh", "-c", script])

    return Program(name="Part", launch=launch)


def test_a_part_that_ends_is_restarted_and_the_callback_is_called(
    group: ServiceGroup, said: list[str]
) -> None:
    part, told = program("exit 3", "sleep 600"), list[int]()
    group.start(part, restarted=lambda: told.append(part.pid))

    group.watch(stopping=lambda: bool(told))

    assert part.is_alive()
    assert told == [part.pid]
    assert said == ["Part ended by itself (exit code 3): starting it again ...", "Part runs again."]


def test_a_failed_restart_is_tried_again_after_a_pause(group: ServiceGroup, said: list[str]) -> None:
    part = program("exit 3", "cannot", "sleep 600")
    group.start(part)

    group.watch(stopping=lambda: "Part runs again." in said)

    assert said[1:] == ["Part cannot start: starting it again in 1 s ...", "Part runs again."]


def test_a_part_that_does_not_start_at_first_is_tried_again(group: ServiceGroup, said: list[str]) -> None:
    group.start(program("cannot", "cannot", "sleep 600"))

    group.watch(stopping=lambda: "Part runs again." in said)

    assert said[:2] == [
        "Part cannot start: starting it again ...",
        "Part cannot start: starting it again in 1 s ...",
    ]


def test_a_start_that_the_machine_refuses_is_tried_again(group: ServiceGroup, said: list[str]) -> None:
    """A full disk must not end the parts that run."""
    group.start(program("exit 3", "full", "sleep 600"))

    group.watch(stopping=lambda: "Part runs again." in said)

    assert said[1] == "Part cannot start ([Errno 28] No space left on device): starting it again in 1 s ..."


def test_a_state_that_cannot_be_written_ends_nothing(settings: Settings, tmp_path: Path) -> None:
    settings.PARTS_FILE = tmp_path / "not-there" / "parts.json"

    run._report([Part("Cluster", "Cluster ended by itself", 1, None)])  # noqa: SLF001


@pytest.mark.parametrize(
    ("restarts", "seconds", "says"),
    [
        (0, 0.0, "Cluster starts again now"),
        (1, 30.0, "Cluster was restarted 1 time in a row, and starts again in 30 s"),
        (2, None, "Cluster was restarted 2 times in a row and runs now"),
    ],
)
def test_the_state_of_a_part_is_a_sentence(restarts: int, seconds: float | None, says: str) -> None:
    next_start = None if seconds is None else time.time() + seconds + 0.4 * bool(seconds)

    assert Part("Cluster", "It ended", restarts, next_start).status == says


def test_a_part_that_always_ends_is_restarted_for_ever_with_growing_pauses(
    group: ServiceGroup, said: list[str], reported: list[Sequence[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time passes a minute a look, so that no pause is waited for."""
    clock = count(0, 31)
    monkeypatch.setattr(restarting, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(restarting, "WELL_AFTER", float("inf"))
    group.start(program("exit 3"))

    group.watch(stopping=lambda: said.count("Part runs again.") >= 8)

    pauses = [int(found[1]) for line in said if (found := re.search(r"again in (\d+) s", line))]
    assert pauses[:7] == [1, 3, 7, 15, 30, 30, 30]
    [failing] = reported[-1]
    assert (failing.name, failing.trouble) == ("Part", "Part ended by itself (exit code 3)")
    assert failing.restarts >= 6


def test_a_single_restart_is_not_reported_as_failing(
    group: ServiceGroup, said: list[str], reported: list[Sequence[Part]]
) -> None:
    group.start(program("exit 3", "sleep 600"))

    group.watch(stopping=lambda: "Part runs again." in said and bool(reported) and not reported[-1])


def test_a_part_that_has_run_well_is_restarted_without_a_pause(
    group: ServiceGroup, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "WELL_AFTER", -1.0)
    group.start(program("exit 3"))

    group.watch(stopping=lambda: said.count("Part runs again.") > 3)

    assert not any("again in" in line for line in said)


def test_a_needed_part_that_ends_during_the_start_is_an_error(group: ServiceGroup) -> None:
    part = program("exit 3")
    part.restart()
    group.add(part)
    wait_until(lambda: not part.is_alive())

    with pytest.raises(StartError, match=r"Part ended by itself \(exit code 3\) while starting"):
        group.require_needed()
