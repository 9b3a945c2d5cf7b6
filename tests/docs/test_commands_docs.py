"""docs/reference/commands.md names every command of the service with its options, and no other."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from tests.docs.test_outbox_docs import own_options
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/reference/commands.md").read_text()
COMMANDS = {name: app for name, app in get_commands().items() if app in ("memories", "semantix")}
# Their options are django-q2's and Django's.
FOREIGN = {"migrate", "qcluster"}


def options(name: str) -> set[str]:
    actions = own_options(name, COMMANDS[name])
    return {option for action in actions for option in action.option_strings if option.startswith("--")}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented_with_its_options(name: str) -> None:
    [row] = re.findall(rf"^\| `{name}` \| (.+) \|$", PAGE, re.MULTILINE)
    help = load_command_class(COMMANDS[name], name).help
    of_all = {"--json", "--user-id", "--project-id"}

    assert len(help) > 40
    assert name in FOREIGN or all(action.help for action in own_options(name, COMMANDS[name]))
    assert name in FOREIGN or options(name) - of_all <= set(re.findall(r"--[a-z-]+", row))


def test_every_command_and_option_on_the_page_exists() -> None:
    known = {option for name in COMMANDS for option in options(name)} | {"--help"}

    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == COMMANDS.keys()


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"manage\.py (\w+)", page.read_text()))

    assert named <= get_commands().keys()
