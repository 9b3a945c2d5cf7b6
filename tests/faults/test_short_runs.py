"""The short run of each experiment, and the command that runs them."""

import re
from pathlib import Path

import pytest

from tests.faults import runner
from tests.faults.__main__ import lines, parse
from tests.faults.trial import Trial
from tests.support.paths import ROOT


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", runner.names())
def test_the_short_run_finds_no_anomaly(name: str, tmp_path: Path) -> None:
    trial = runner.run(Trial(name, seed=1, quick=True, folder=tmp_path))

    assert trial.anomalies == []
    assert trial.counts


def test_help_describes_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])

    told = capsys.readouterr().out
    assert all(
        len(runner.description(name)) > 20 and runner.description(name) in told for name in runner.names()
    )


def test_each_experiment_that_shares_the_processors_exists() -> None:
    assert set(runner.names()) > runner.UNTIMED


def test_the_page_lists_every_experiment_and_no_other() -> None:
    page = (ROOT / "docs/explanation/reliability.md").read_text()
    experiments = page.split("## Experiments")[1].split("##")[0]

    assert sorted(re.findall(r"^\| `(\w+)` \|", experiments, re.MULTILINE)) == runner.names()


def test_the_command_refuses_a_name_that_no_experiment_has(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["nonsense"])

    assert "there is no experiment nonsense" in capsys.readouterr().err


def test_an_experiment_that_raises_is_an_anomaly(tmp_path: Path) -> None:
    trial = runner.run(Trial("no_such_module", seed=1, quick=True, folder=tmp_path))

    (anomaly,) = trial.anomalies
    assert "ModuleNotFoundError" in anomaly
    assert lines(trial.result())[0] == "no_such_module (seed 1): 1 anomalies"


def test_the_same_seed_makes_the_same_choices(tmp_path: Path) -> None:
    first, second, other = (Trial("x", seed, quick=True, folder=tmp_path) for seed in (7, 7, 8))

    assert first.chance.random() == second.chance.random() != other.chance.random()
