"""Finds the experiments, and runs one on the servers that the environment names."""

import ast
import pkgutil
import time
import traceback
from importlib import import_module
from pathlib import Path

from tests.faults import experiments
from tests.faults.trial import Trial

# Not part of a run of all experiments: `make soak` runs it.
ALONE = {"soak"}
# They look at what is true in the end, and not at how long anything takes. So two may share the processors.
UNTIMED = {"aborts", "histories", "model", "rebuild_killed", "undisturbed"}


def names() -> list[str]:
    """All experiments, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(experiments.__path__))


def description(name: str) -> str:
    """The first line of an experiment's docstring. The module is not imported, because it needs Django."""
    source = Path(experiments.__path__[0], f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def run(trial: Trial) -> Trial:
    """Run the experiment of that name. Django must be set up, with an empty database. An error is an anomaly."""
    started = time.monotonic()
    try:
        import_module(f"{experiments.__name__}.{trial.name}").run(trial)
    except Exception:
        trial.expect(False, traceback.format_exc())
    trial.figures["duration_s"] = round(time.monotonic() - started, 1)
    return trial
