"""A new Django project, the shop of the how-to pages, into which the outbox is installed as the pages say.

A Python block whose first line is a comment with a path is that file.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from semantix.allinone import programs
from tests.support.documented.blocks import Block
from tests.support.documented.reader import Reader, fail
from tests.support.documented.shell import Shell
from tests.support.paths import ROOT
from tests.support.running import outside_the_tests

HOW_TO = ROOT / "docs/how-to"
INSTALLATION = HOW_TO / "install-the-outbox.md"
SHOP_PAGES = [INSTALLATION, HOW_TO / "write-a-handler.md", HOW_TO / "use-django-tasks.md"]
FILE = re.compile(r"# (?P<path>[\w/]+\.py)\n")
WAITING = "SELECT count(*) FROM outbox_event WHERE status IN ('pending', 'claimed')"
DATABASES = ("shop", "test_shop")


class Shop:
    """On a database of its own in the tests' PostgreSQL. `folder` is where the reader's terminal begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "shop"
        self._server = conninfo_to_dict(os.environ["DATABASE_URL"])
        (folder / "semantix").symlink_to(ROOT)

    @property
    def environment(self) -> dict[str, str]:
        names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user"}
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), str(programs.installed()), os.environ["PATH"]]
        )
        server = {name: str(self._server[key]) for name, key in names.items() if key in self._server}
        return outside_the_tests() | server | {"PATH": path}

    def ask(self, query: str, database: str = "shop") -> list[Any]:
        parameters = self._server | {"dbname": database}
        with psycopg.connect(**parameters, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def terminal(self, folder: Path) -> Iterator[Shell]:
        shell = Shell(folder, self.folder, self.environment)
        try:
            yield shell
        finally:
            shell.close()

    def read(self, blocks: tuple[Block, ...], folder: Path) -> None:
        """As a reader does who stands in `folder`."""
        with self.terminal(folder) as shell:
            ShopReader(self, shell).read(blocks)

    def python(self, program: str) -> str:
        """What a program prints that the project runs."""
        with self.terminal(self.project) as shell:
            file = self.project / "program.py"
            file.write_text(f"import django\ndjango.setup()\n{program}")
            done = shell.run("DJANGO_SETTINGS_MODULE=shop.settings python program.py")
        assert done.code == 0, done.errors
        return done.output.strip()

    def remove(self) -> None:
        for name in DATABASES:
            self.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", "postgres")


class ShopReader(Reader):
    def __init__(self, shop: Shop, shell: Shell) -> None:
        super().__init__(shell, translate=str, is_idle=self._nothing_waits)
        self._shop = shop
        self._shell = shell

    def execute(self, block: Block, names: dict[str, Any]) -> None:
        """Write the file. Settings are added to those of `startproject`."""
        named = FILE.match(block.text) or fail(block, "Its first line does not say which file this is.")
        file = self._shop.project / named["path"]
        with file.open("a" if file.name == "settings.py" else "w") as opened:
            opened.write(f"\n{block.text}")

    def _nothing_waits(self) -> bool:
        return not self._shell.has_running or self._shop.ask(WAITING)[0][0] == 0
