"""Events drained a second, and time from the commit to the handler: Semantix, its statements alone, and peers.

All use one Postgres as shipped, a database for each round of each subject, two worker processes each, and a handler
that only notes that it ran. The rounds alternate between the subjects, so that a busy moment of the machine affects
all of them. The figures are medians of the rounds.
"""

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import psycopg

from benchmarks.relays import starts
from benchmarks.relays.measure import SUBJECTS
from benchmarks.service import ROOT, database, say

Figures = dict[str, float]


def run(options: Namespace) -> Mapping[str, Figures]:
    rounds, backlog, singles = (1, 2_000, 100) if options.quick else (3, 20_000, 1_000)
    measured: dict[str, list[Figures]] = {name: [] for name in SUBJECTS}
    with database() as (folder, url):
        for number in range(rounds):
            for name in SUBJECTS:
                say(f"Round {number + 1} of {rounds}: {name} ...")
                own = database_of_its_own(url, f"{name}-{number}")
                measured[name].append(measure("measure", own, folder, name, backlog, singles))
    return {
        name: {metric: median(round[metric] for round in rounds) for metric in rounds[0]}
        for name, rounds in measured.items()
    }


def database_of_its_own(url: str, name: str) -> str:
    """Create a database on the same server, and return its URL."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f'CREATE DATABASE "{name}"')
    return url.replace("/semantix?", f"/{quote(name)}?")


def measure(module: str, url: str, folder: Path, *arguments: object, **more: str) -> Any:
    """Run a module of benchmarks.relays in a process of its own; returns what it prints. `more`: its environment."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "benchmarks.relays.settings",
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(folder),
        "DATABASE_URL": url,
        "SECRET_KEY": "only-for-measuring",
        "LOG_LEVEL": "WARNING",
        starts.VARIABLE: str(folder / "starts"),
        **more,
    }
    command = [sys.executable, "-m", f"benchmarks.relays.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
