"""docs/reference/benchmarks.md lists every measurement, and no other."""

import pkgutil
import re

import benchmarks
from benchmarks.__main__ import PARTS
from tests.support.paths import ROOT


def test_every_benchmark_is_listed_and_no_other() -> None:
    page = (ROOT / "docs/reference/benchmarks.md").read_text()
    names = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - PARTS

    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == names
