"""docs/reference/benchmarks.md lists every measurement, and no other."""

import re

import pytest

from benchmarks.__main__ import description, names, parse
from tests.support.paths import ROOT


def test_every_benchmark_is_listed_and_no_other() -> None:
    page = (ROOT / "docs/reference/benchmarks.md").read_text()

    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == names()


def test_help_describes_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])

    told = dict(re.findall(r"^  (\w+) {2,}(\S.*)$", capsys.readouterr().out, re.MULTILINE))
    assert {name: told.get(name) for name in names()} == {name: description(name) for name in names()}
    assert all(re.fullmatch(r"\S.{20,}\.", description(name)) for name in names())
