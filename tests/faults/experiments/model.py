"""A state machine writes, fails, crashes, replays, rebuilds and restores in any order: the stores end equal.

Hypothesis chooses the steps: write, change, delete, roll back, deliver, fail, lose a dependency, pause or kill a worker
between two calls, lose a lease, retry, replay, rebuild, prune, take a snapshot, restore it. After each run both stores
must hold what was written and not undone, and meanwhile no search returns a deleted memory or an older text.
"""

from django.test import override_settings
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.machine import Stores
from tests.faults.trial import Trial
from tests.support.workers import watch_chroma


def run(trial: Trial) -> None:
    trial.counts["runs"] = runs = trial.size(100, quick=8)
    trial.counts["steps of a run"] = steps = trial.size(25, quick=10)
    watch_chroma()
    # Not shrunk: each try of a shorter run takes as long as the run. The error lists the steps.
    options = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        verbosity=Verbosity.normal,
        suppress_health_check=list(HealthCheck),
    )
    with override_settings(OUTBOX_MAX_ATTEMPTS=1000):
        run_state_machine_as_test(seed(trial.seed)(Stores), settings=options)
