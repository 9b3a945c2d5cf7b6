"""Every code block of README.md and docs/ is run against a running service, or its mark says why not."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documented.answers import says
from tests.support.documented.blocks import Block, blocks_of, fault, pages
from tests.support.documented.reader import Reader
from tests.support.documented.shell import Shell
from tests.support.documented.shop import SHOP_PAGES
from tests.support.keys import memory
from tests.support.paths import ROOT
from tests.support.programs import require
from tests.support.running import Home, Up, outside_the_tests

ADDRESS = re.compile(r"(localhost|127\.0\.0\.1):8000\b")
RUN_HERE = [
    page for page in pages() if page not in SHOP_PAGES and any(not b.not_run for b in blocks_of(page))
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_block_is_run_or_marked_with_a_reason(page: Path) -> None:
    blocks = blocks_of(page)
    faults = [fault(block, before) for before, block in zip((None, *blocks), blocks, strict=False)]

    assert not any(faults), "\n".join(filter(None, faults))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = Home(tmp_path_factory.mktemp("documented") / "data")
    try:
        yield home.up()
    finally:
        home.leave()


@pytest.fixture
def shell(up: Up, tmp_path: Path) -> Iterator[Shell]:
    """A terminal in a folder that looks like the clone: with manage.py, and `.venv`."""
    require("curl")
    folder, programs = tmp_path / "semantix", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (folder / "manage.py").symlink_to(ROOT / "manage.py")
    (folder / ".venv").symlink_to(sys.prefix)
    (programs / "manage.py").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/manage.py "$@"\n')
    (programs / "manage.py").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    # The client is not installed here: tests/clients/test_package.py does that, in an environment of its own.
    client = {"PYTHONPATH": str(ROOT / "clients/python/src")}
    shell = Shell(folder, tmp_path, outside_the_tests() | client | {"DATA_DIR": str(up.data), "PATH": path})
    yield shell
    shell.close()


@pytest.mark.parametrize("page", RUN_HERE, ids=name)
def test_a_page_answers_as_it_says(page: Path, up: Up, shell: Shell) -> None:
    def translate(text: str) -> str:
        return ADDRESS.sub(f"127.0.0.1:{up.port}", text)

    if page.is_relative_to(ROOT / "docs") and "tutorial" not in page.parts:
        store_something(up)
    Reader(shell, translate, up.is_idle).read(blocks_of(page))


def store_something(up: Up) -> None:
    """All pages but the first take it that their reader has stored a memory already."""
    if not up.ask("SELECT FROM memory_logs LIMIT 1"):
        up.post("/memory-logs", memory("ada", "demo"))


def test_the_first_start_prints_what_the_readme_shows(up: Up) -> None:
    blocks = blocks_of(ROOT / "README.md")
    start = next(n for n, block in enumerate(blocks) if "make run" in block.text)
    shown: Block = blocks[start + 1]

    printed = up.output.replace(str(up.port), "8000")
    assert not [line for line in shown.text.splitlines() if not says(f"…{line}…", printed)], printed
