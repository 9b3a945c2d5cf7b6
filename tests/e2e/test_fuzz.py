"""schemathesis against the real server: every operation of the schema, every check it has.

A short run here. `make fuzz` makes it long: FUZZ_CASES is how many requests it must have made at the least.
It makes them in rounds, because schemathesis tries what it saw in answers as input, and looks through all of it
for each request: one run of 10,000 takes hours.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.keys import new_key
from tests.support.processes import environment
from tests.support.web_server import WebServer

CONFIG = Path(__file__).with_name("schemathesis.toml")
CASES = int(os.environ.get("FUZZ_CASES", "0"))
# The short run is the same each time; the long one goes where nobody was.
SHORT = ("--phases", "examples,fuzzing", "--max-examples", "2", "--seed", "1")
# What is systematic, about 100 requests an operation, is the same in each round.
FIRST = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "50")
FURTHER = ("--phases", "fuzzing,stateful", "--max-examples", "50")

pytestmark = [pytest.mark.timeout(7200), pytest.mark.django_db(transaction=True)]


def fuzz(server: WebServer, folder: Path, *options: str) -> int:
    """How many requests were made. Fails with all that schemathesis says when it finds anything."""
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command = [*program, "run", f"{server.url}/schema"]
    run = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    made = re.search(r"([\d,]+) generated", run.stdout)
    assert made, run.stdout
    return int(made[1].replace(",", ""))


def test_no_generated_request_finds_a_crash_or_an_answer_that_the_schema_does_not_know(
    tmp_path: Path,
) -> None:
    log = tmp_path / "server.log"
    with WebServer(log=log, **environment()) as server:
        made = fuzz(server, tmp_path, *(FIRST if CASES else SHORT))
        while made < CASES:
            print(f"{made:,} of {CASES:,} requests made ...", flush=True)
            made += fuzz(server, tmp_path, *FURTHER)

    assert "Traceback" not in log.read_text()


if CASES:

    def test_no_operation_can_be_called_without_its_key(tmp_path: Path) -> None:
        key = ("--header", f"Authorization: Bearer {new_key('fuzz')}")
        with WebServer(
            log=tmp_path / "server.log", **environment() | {"SEMANTIX_AUTH": "required"}
        ) as server:
            assert fuzz(server, tmp_path, *key, "--checks", "ignored_auth", "--max-examples", "10") > 0
