"""The settings of the tests, with points at which a process kills itself: for the clusters of `kill_storm`."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.kill_points.KillPoints"]
EMBEDDING_BACKEND = "tests.faults.kill_points.Embedder"
