"""The project's settings as shipped, and the benchmark's handler."""

from semantix.settings import *  # noqa: F403
from semantix.settings import INSTALLED_APPS, Q_CLUSTER

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.relays"]
Q_CLUSTER = {**Q_CLUSTER, "workers": 2}
