"""The reference of the outbox names every command, setting, check and status; no outbox page names one that is not."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import fields

import pytest
from django.core.management import get_commands, load_command_class
from django.utils.module_loading import import_string

from outbox.conf import Defaults
from outbox.models import Status
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/reference/outbox.md").read_text()
PAGES = PAGE + "".join(
    (ROOT / "docs" / page).read_text()
    for page in (
        "how-to/install-the-outbox.md",
        "how-to/write-a-handler.md",
        "how-to/use-django-tasks.md",
        "explanation/outbox.md",
    )
)
CHECKS = (ROOT / "docs/reference/checks.md").read_text()
CHECK = r"(?:outbox|memories|semantix)\.[EW]\d{3}"
APPS = ("outbox", "memories", "semantix")
COMMANDS = sorted(name for name, app in get_commands().items() if app == "outbox")
SETTINGS = {f"OUTBOX_{field.name}": field.default for field in fields(Defaults)}


def own_options(command: str, app: str = "outbox") -> Iterator[argparse.Action]:
    parser = load_command_class(app, command).create_parser("manage.py", command)
    inherited = {
        "help",
        "version",
        "verbosity",
        "settings",
        "pythonpath",
        "traceback",
        "no_color",
        "force_color",
    }
    return (action for action in parser._actions if action.dest not in inherited | {"skip_checks"})  # noqa: SLF001


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_and_has_help(command: str) -> None:
    assert f"| `{command}` |" in PAGE
    assert len(load_command_class("outbox", command).help) > 40
    assert all(action.help for action in own_options(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_speaks_json(command: str) -> None:
    assert "--json" in {name for action in own_options(command) for name in action.option_strings}


def test_every_option_on_the_pages_exists() -> None:
    options = {
        name for command in COMMANDS for action in own_options(command) for name in action.option_strings
    }

    ours = re.sub(r"^\$ .*(createsuperuser|pytest).*$", "", PAGES, flags=re.MULTILINE)  # commands of others

    assert set(re.findall(r"`?(--[a-z][a-z-]+)", ours)) <= options


@pytest.mark.parametrize(("name", "default"), SETTINGS.items())
def test_every_setting_is_documented_with_its_default(name: str, default: object) -> None:
    assert f"| `{name}` | `{default}` |" in PAGE


def test_every_setting_on_the_pages_exists() -> None:
    assert set(re.findall(r"OUTBOX_[A-Z_]+", PAGES)) <= SETTINGS.keys()


def test_every_check_is_documented_and_no_other() -> None:
    sources = [path.read_text() for app in APPS for path in (ROOT / app).rglob("*.py")]
    raised = {found for source in sources for found in re.findall(rf'"({CHECK})"', source)}

    assert raised == set(re.findall(rf"\| `({CHECK})` \|", CHECKS))


def test_every_status_is_in_the_table_and_in_the_drawing() -> None:
    drawing = re.findall(r"stateDiagram-v2\n(.+?)```", PAGE, re.DOTALL)[0]

    assert {status for status in Status.values if f"| `{status}` |" in PAGE} == set(Status.values)
    assert set(re.findall(r"\w+", re.sub(r":.*", "", drawing))) == set(Status.values)


def test_the_services_it_names_are_there() -> None:
    paths = re.findall(r"`(outbox(?:\.[a-z]\w+){2,})(?:\(\))?`", PAGES)

    assert len(paths) > 3
    for path in paths:
        assert import_string(path)
