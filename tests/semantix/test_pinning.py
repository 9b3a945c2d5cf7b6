"""Each process of the web server stays on a processor of its own."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from semantix.web import pinning
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(
    "sys.platform != 'linux'", reason="only Linux can pin a thread to a processor"
)

PROCESSORS = os.sched_getaffinity(0) if sys.platform == "linux" else set()

# Import the application as the web server does, under a name of claims that no server of another test uses.
SERVER = """
import json, os, sys, threading
from semantix import garbage
from semantix.web import pinning

seen = {}
pinning.CLAIMS = sys.argv[1]
garbage.process_serves = lambda: seen.update(loading=sorted(os.sched_getaffinity(0)))
from semantix import warmed
from semantix.asgi import threads

seen["views"] = sorted(threads.executor.submit(os.sched_getaffinity, 0).result())
seen["event_loop"] = sorted(os.sched_getaffinity(0))
for thread in threading.enumerate():
    if thread.name == "warm-up":
        thread.join()
print(json.dumps(seen))
"""


@pytest.fixture(autouse=True)
def claims(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name of claims that no web server of another test uses."""
    name = f"semantix-test-{uuid4()}"
    monkeypatch.setattr(pinning, "CLAIMS", name)
    return name


def pinned() -> tuple[pinning.Claim | None, set[int]]:
    """What `pin` returned, and the processors that its thread may use then. In a thread of its own: it stays pinned."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: (pinning.pin(), os.sched_getaffinity(0))).result()


def test_every_process_gets_a_processor_of_its_own_as_long_as_there_are_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pinning, "PROCESSORS", tmp_path)  # the system tells nothing: each is taken for a core
    if len(PROCESSORS) == 1:
        assert pinned() == (None, PROCESSORS)
        return
    places = [pinned() for _ in PROCESSORS]
    claims = [claim for claim, _ in places if claim]

    assert {claim.processor for claim in claims} == PROCESSORS
    assert [allowed for _, allowed in places] == [{claim.processor} for claim in claims]
    assert pinned() == (None, PROCESSORS)

    claims[0].held.close()
    again, _ = pinned()
    assert again is not None
    assert again.processor == claims[0].processor
    for claim in (*claims, again):
        claim.held.close()


def test_two_processors_of_one_core_are_claimed_together_and_the_fast_cores_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine of two cores whose processors are all those that this test has; the second core is faster."""
    first, *others = sorted(PROCESSORS)
    monkeypatch.setattr(pinning, "PROCESSORS", tmp_path)
    for processor in PROCESSORS:
        folder = tmp_path / f"cpu{processor}"
        (folder / "topology").mkdir(parents=True)
        core = [first] if processor == first else others
        (folder / "topology/core_cpus_list").write_text(",".join(map(str, core)))
        (folder / "cpu_capacity").write_text("512" if processor == first else "1024")
    if not others:
        assert pinned() == (None, PROCESSORS)
        return

    fast, _ = pinned()
    slow, _ = pinned()
    assert fast is not None
    assert slow is not None
    assert fast.processor in others
    assert slow.processor == first
    assert pinned() == (None, PROCESSORS)
    for claim in (fast, slow):
        claim.held.close()


@pytest.mark.parametrize("wanted", ["true", "false"])
def test_the_threads_of_the_server_stay_on_one_processor_and_the_embedder_may_use_all(
    claims: str, wanted: str
) -> None:
    environment = os.environ | {"WEB_PINNED": wanted}
    done = subprocess.run(
        [sys.executable, "-c", SERVER, claims],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)

    assert seen["loading"] == sorted(PROCESSORS)
    assert seen["views"] == seen["event_loop"]
    assert len(seen["event_loop"]) == (1 if wanted == "true" else len(PROCESSORS))
