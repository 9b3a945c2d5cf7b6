"""`.env.example` and settings.py name the same variables, and what counts as given."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from django.core.exceptions import ImproperlyConfigured

from semantix.environment import misspelt
from tests.support.paths import ROOT

EXAMPLE = (ROOT / ".env.example").read_text()
SETTINGS = (ROOT / "semantix/settings.py").read_text()


def read_in_settings() -> set[str]:
    return set(re.findall(r'\benv(?:\.\w+)?\(\s*"([A-Z0-9_]+)"', SETTINGS))


def listed_in_example() -> list[str]:
    return re.findall(r"^# ([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE)


@contextmanager
def settings_in(given: Mapping[str, str]) -> Iterator[SimpleNamespace]:
    """The settings, read again with only these variables in the environment, which stay set inside the `with`."""
    with patch.dict(os.environ, {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **given}, clear=True):
        yield SimpleNamespace(**runpy.run_path(str(ROOT / "semantix/settings.py")))


def setting(name: str, given: Mapping[str, str]) -> Any:
    with settings_in(given) as settings:
        return getattr(settings, name)


def manage(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **given},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_variable_of_settings_is_in_the_example() -> None:
    assert read_in_settings() - set(listed_in_example()) == set()


def test_every_variable_of_the_example_is_read() -> None:
    assert set(listed_in_example()) - read_in_settings() == set()


def test_no_variable_is_listed_twice() -> None:
    assert len(listed_in_example()) == len(set(listed_in_example()))


def test_copying_the_example_changes_nothing() -> None:
    assert [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")] == []


@pytest.mark.parametrize("name", listed_in_example())
def test_every_variable_has_its_meaning_above_it(name: str) -> None:
    lines = EXAMPLE.splitlines()
    above = lines[next(i for i, line in enumerate(lines) if line.startswith(f"# {name}=")) - 1]
    follows_a_sibling = re.match(r"# [A-Z][A-Z0-9_]+=", above)
    assert follows_a_sibling or len(above) > 10


def test_an_empty_service_url_counts_as_not_given(tmp_path: Path) -> None:
    environment = {"DATA_DIR": str(tmp_path), "DATABASE_URL": "", "CHROMA_URL": "http://chroma:1"}
    assert setting("GIVEN", environment) == {"CHROMA_URL"}


def test_commands_reach_the_services_of_a_running_up(tmp_path: Path) -> None:
    (tmp_path / "services.env").write_text("CHROMA_URL=http://127.0.0.1:4242\n")
    environment = {"DATA_DIR": str(tmp_path), "CHROMA_URL": ""}
    with settings_in(environment) as settings:
        assert settings.CHROMA_URL == "http://127.0.0.1:4242"
        assert not settings.GIVEN


def test_a_relative_data_folder_starts_at_the_projects_folder() -> None:
    assert setting("DATA_DIR", {"DATA_DIR": "somewhere/else"}) == ROOT / "somewhere/else"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("PORT", "abc", "invalid literal"),
        ("PORT", "99999", "1 to 65535"),
        ("SEMANTIX_AUTH", "maybe", "not one of required, open"),
        ("LOG_LEVEL", "LOUD", "not one of DEBUG, INFO, WARNING, ERROR"),
        ("API_KEY_CACHE_SECONDS", "soon", "could not convert"),
        ("HTTPS", "yess", "neither true nor false"),
        ("OUTBOX_WAKEUP", "wait", "not one of listen, poll"),
        ("CHROMA_URL", "nonsense", "not an address like http://host:8000"),
        ("REDIS_URL", "localhost:6379", "not an address like redis://host:6379/0"),
        ("SECRET_KEY", "$ecret", "names another variable"),
        ("DATABASE_URL", "nonsense", "postgresql://user:password@host:5432/name"),
        ("DATABASE_URL", "mysql://root@db/semantix", "postgresql://user:password@host:5432/name"),
    ],
)
def test_an_impossible_value_is_refused_with_the_name_of_its_setting(name: str, value: str, why: str) -> None:
    with (
        pytest.raises(ImproperlyConfigured, match=rf"^{name}: .*{re.escape(why)}"),
        settings_in({"DATA_DIR": os.devnull, name: value}),
    ):
        pass


def test_a_command_reports_a_wrong_value_in_one_line() -> None:
    run = manage("up", DATA_DIR=os.devnull, PORT="99999")

    assert run.returncode == 1
    assert run.stderr.startswith("Wrong setting: PORT: 99999 is not a port")
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize(("value", "meaning"), [("Yes", True), ("1", True), ("off", False), ("", False)])
def test_a_yes_may_be_written_in_many_ways(value: str, meaning: bool) -> None:
    assert setting("HTTPS", {"HTTPS": value}) is meaning


def test_a_misspelt_setting_causes_a_warning_and_other_variables_do_not(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "SEMANTIX_AUHT=open\nexport EMBEDDING_MODLE=m\nPOSTGRES_PASSWORD=p\nHF_HOME=/h\nPORT=8001\n"
    )
    given = {
        "ENV_FILE": str(env_file),
        "OUTBOX_MAX_BACKLOGG": "5",
        "HOSTNAME": "h",
        "CHROMA_PORT": "tcp://c:1",
    }
    with settings_in(given) as settings:
        found = misspelt(settings.ENV_FILE)
    assert found == {
        "EMBEDDING_MODLE": "EMBEDDING_MODEL",
        "OUTBOX_MAX_BACKLOGG": "OUTBOX_MAX_BACKLOG",
        "SEMANTIX_AUHT": "SEMANTIX_AUTH",
    }


def test_the_warning_names_both(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SEMANTIX_AUHT=open\n")
    run = manage("check", ENV_FILE=str(tmp_path / ".env"))
    assert run.returncode == 0
    assert "There is no setting SEMANTIX_AUHT." in run.stderr
    assert "Did you mean SEMANTIX_AUTH?" in run.stderr


def test_the_hint_of_commands_depends_on_database_url(tmp_path: Path) -> None:
    hint = "OUTBOX_DATABASE_HINT"
    nothing_runs = {"DATA_DIR": str(tmp_path)}
    named = nothing_runs | {"DATABASE_URL": "postgresql://db/semantix"}
    assert setting(hint, nothing_runs).startswith("Semantix is not running: `make run` starts it.")
    assert setting(hint, named) == "Does the server of DATABASE_URL run?"


@pytest.mark.parametrize("command", [["outbox_status"], ["create_api_key", "--user-id", "ada"]])
def test_every_command_reports_an_unreachable_database_in_plain_words(command: list[str]) -> None:
    run = manage(*command, DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")
    assert run.returncode == 1
    assert "The database failed: " in run.stderr
    assert run.stderr.strip().endswith("Does the server of DATABASE_URL run?")
    assert "Traceback" not in run.stderr
