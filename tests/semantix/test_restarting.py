"""Watched parts: a part that ends by itself is restarted."""

from collections.abc import Iterator

import pytest

from semantix.allinone import restarting
from semantix.allinone.errors import StartError
from semantix.allinone.process import Child
from semantix.allinone.service import Program
from semantix.allinone.service_group import ServiceGroup
from tests.support.waiting import wait_until


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def group(said: list[str]) -> Iterator[ServiceGroup]:
    group = ServiceGroup(said.append)
    yield group
    group.stop()


def program(*scripts: str) -> Program:
    """A program that runs one script per start, and the last script at all later starts."""
    left = list(scripts)

    def launch() -> Child:
        script = left.pop(0) if len(left) > 1 else left[0]
        if script == "cannot":
            raise StartError("Part cannot start")
        return Child("Part", ["sh", "-c", script])

    return Program(child=launch(), launch=launch)


def test_a_part_that_ends_is_restarted_and_the_callback_is_called(
    group: ServiceGroup, said: list[str]
) -> None:
    part, told = program("exit 3", "sleep 600"), list[int]()
    group.add(part, restarted=lambda: told.append(part.pid))

    group.watch(stopping=lambda: bool(told))

    assert part.is_alive()
    assert told == [part.pid]
    assert said == ["Part ended by itself (exit code 3): starting it again ...", "Part runs again."]


def test_a_failed_restart_is_tried_again_after_a_pause(group: ServiceGroup, said: list[str]) -> None:
    part = program("exit 3", "cannot", "sleep 600")
    group.add(part)

    group.watch(stopping=lambda: "Part runs again." in said)

    assert said[1:] == ["Part cannot start: starting it again in 1 s ...", "Part runs again."]


def test_what_ends_at_once_each_time_is_given_up(
    group: ServiceGroup, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "WELL_AFTER", float("inf"))
    group.add(program("exit 3"))

    with pytest.raises(StartError, match=r"Part ended by itself \(exit code 3\), after 3 restarts in a row"):
        group.watch(stopping=lambda: False)

    assert said.count("Part runs again.") == 3


def test_who_ran_well_meanwhile_is_not_given_up(
    group: ServiceGroup, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "WELL_AFTER", -1.0)
    group.add(program("exit 3"))

    group.watch(stopping=lambda: said.count("Part runs again.") > 3)


def test_a_part_that_ends_during_the_start_is_an_error(group: ServiceGroup) -> None:
    part = program("exit 3")
    group.add(part)
    wait_until(lambda: not part.is_alive())

    with pytest.raises(StartError, match=r"Part ended by itself \(exit code 3\) while starting"):
        group.require_all()
