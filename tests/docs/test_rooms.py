"""Every package says what it is for, and few modules stand outside a package."""

import ast
from pathlib import Path

import pytest

from tests.support.paths import ROOT

APPS = ("outbox", "memories", "semantix")
# Django gives these their names and their purpose.
DJANGOS = {"management", "commands", "migrations"}
PACKAGES = [file.parent for app in APPS for file in (ROOT / app).rglob("__init__.py")]
MOST_MODULES = 14


@pytest.mark.parametrize(
    "package",
    sorted(package for package in PACKAGES if package.name not in DJANGOS),
    ids=lambda package: str(package.relative_to(ROOT)),
)
def test_a_package_says_what_it_is_for(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))

    assert docstring, (
        f"{package.relative_to(ROOT)}/__init__.py needs a line that says what the package is for"
    )
    assert docstring.splitlines()[0].endswith("."), "Its first line is a sentence"


@pytest.mark.parametrize("app", ["outbox", "memories"])
def test_few_modules_stand_outside_a_package(app: str) -> None:
    modules = sorted(file.name for file in (ROOT / app).glob("*.py") if file.name != "__init__.py")

    assert len(modules) <= MOST_MODULES, f"Move a module of {app}/ into a package: {', '.join(modules)}"
