"""Generated requests against the real server: schemathesis with every check it has, and hostile bodies.

The ordinary run is short. `make fuzz` makes it long: FUZZ_CASES is the least number of schemathesis requests. They are
sent in rounds, because schemathesis uses values of earlier answers as input and searches through all of them for each
request: one run of 10,000 takes hours.
"""

import json
import os
import random
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import httpx
import pytest

from tests.support.hostile_bodies import HostileBody, hostile_bodies
from tests.support.keys import new_key
from tests.support.processes import environment
from tests.support.web_server import WebServer

CONFIG = Path(__file__).with_name("schemathesis.toml")
CASES = int(os.environ.get("FUZZ_CASES", "0"))
# The short run is always the same. The long run has a new seed each time.
SHORT = ("--phases", "examples,fuzzing", "--max-examples", "2", "--seed", "1")
# The coverage phase sends the same requests in every round, about 100 for each operation, so it runs once.
FIRST = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "50")
FURTHER = ("--phases", "fuzzing,stateful", "--max-examples", "50")

pytestmark = [pytest.mark.timeout(7200), pytest.mark.django_db(transaction=True)]


def fuzz(server: WebServer, folder: Path, *options: str) -> int:
    """Run schemathesis and return the number of requests. Fails with its output when it finds something."""
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


def test_a_hostile_body_is_answered_and_what_is_stored_is_what_was_sent(tmp_path: Path) -> None:
    """Large, deep, slow, compressed and wrongly encoded bodies. A failure prints the seed that repeats it."""
    seed = int(os.environ.get("FUZZ_SEED", random.getrandbits(32) if CASES else 1))
    print(f"FUZZ_SEED={seed}", flush=True)
    log = tmp_path / "server.log"
    with (
        WebServer(log=log, **environment()) as server,
        httpx.Client(
            base_url=server.url, timeout=120, headers={"Content-Type": "application/json"}
        ) as client,
    ):
        for number, body in enumerate(islice(hostile_bodies(seed), max(42, CASES // 10))):
            path = ("/memory-logs", "/memory-logs/batch", "/memory-logs/search")[number % 3 if CASES else 0]
            answer = client.post(path, content=body.pieces(), headers=body.headers)
            assert_answered(client, path, body, answer)
        assert client.get("/health/live").status_code == 200

    assert "Traceback" not in log.read_text()


def assert_answered(client: httpx.Client, path: str, body: HostileBody, answer: httpx.Response) -> None:
    said = f"{body.kind}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, said
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", said
    elif path == "/memory-logs":
        assert body.stored is not None, said
        read = client.get(answer.headers["Location"]).json()["raw_data"]
        assert as_doubles(read) == as_doubles(body.stored), said


def as_doubles(data: object) -> object:
    """PostgreSQL writes 1.7e308 as an integer."""
    return json.loads(json.dumps(data), parse_int=float)


if CASES:

    def test_no_operation_can_be_called_without_its_key(tmp_path: Path) -> None:
        key = ("--header", f"Authorization: Bearer {new_key('fuzz')}")
        with WebServer(
            log=tmp_path / "server.log", **environment() | {"SEMANTIX_AUTH": "required"}
        ) as server:
            assert fuzz(server, tmp_path, *key, "--checks", "ignored_auth", "--max-examples", "10") > 0
