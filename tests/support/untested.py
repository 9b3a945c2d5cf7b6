"""A pytest plugin: a run that skipped tests because a program is missing ends with one line a program.

The line says what was not tested and which command brings the program. Where the environment variable CI is set, such
a run fails.
"""

import os
from collections import Counter
from collections.abc import Generator

import pytest

from tests.support.programs import NEEDS, PROGRAMS, command_that_brings


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Outside the terminal's own report, so that these lines stand below all others, where a person looks first."""
    lines = untested(session.config)
    fails = lines and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK
    if fails:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    for line in lines:
        _write(session.config, line)
    if fails:
        _write(session.config, "Failed: CI is set, and a pipeline must not pass by skipping.")


def _write(config: pytest.Config, line: str) -> None:
    config.get_terminal_writer().line(line, yellow=True, bold=True)


def untested(config: pytest.Config) -> list[str]:
    """The lines. None in a worker of pytest-xdist: the process that started it has the reports of all."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    reasons = (str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple))
    skipped = Counter(reason.partition(NEEDS)[2] for reason in reasons)
    return [
        f"Not tested: {program.tests} (tests skipped: {skipped[name]}). {name} is missing; this brings it: "
        f"{command_that_brings(program)}"
        for name, program in PROGRAMS.items()
        if skipped[name]
    ]
