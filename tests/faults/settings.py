"""The settings of the tests for the clusters of a fleet: with points at which a process may kill itself."""

import os

from tests.faults.names import KILL_POINTS
from tests.settings import *  # noqa: F403
from tests.settings import EMBEDDING_BACKEND, INSTALLED_APPS, LOGGING

# A fleet finds its processes by what django-q2 logs. More would only cost time.
LOGGING["loggers"]["django-q"]["level"] = "INFO"

if os.environ.get(KILL_POINTS):
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.kill_points.KillPoints"]
    EMBEDDING_BACKEND = "tests.faults.kill_points.Embedder"
