"""Files and folders that a page names are there."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PATH = re.compile(r"`((?:outbox|memories|semantix|tests|benchmarks|docs|\.github)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    missing = {path for path in PATH.findall(page.read_text()) if not (ROOT / path).exists()}

    assert not missing
