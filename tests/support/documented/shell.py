"""A terminal in which the blocks of a page are run one after the other, as a reader types them."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROMPT = "$ "
# These do not end by themselves: the reader has a terminal for each.
ENDLESS = re.compile(r"manage\.py (qcluster|runserver|up)\b|^make run\b|^curl .*-N\b")
TIMEOUT = 100.0
# By itself it ends with 0 also where the request was refused.
CURL = 'curl() { command curl --fail-with-body "$@"; }'
REFUSED = 22


class Command(NamedTuple):
    text: str
    # What the page shows below it.
    output: str


def commands(text: str) -> Iterator[Command]:
    """Of a block with prompts each command with the output shown below it; else the whole block as one script."""
    if not any(line.startswith(PROMPT) for line in text.splitlines()):
        yield Command(text, "")
        return
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        length = next(n for n in range(1, len(lines) + 1) if n == len(lines) or _is_complete(lines[:n]))
        yield Command("\n".join(lines[:length]), "\n".join(lines[length:]))


def _is_complete(lines: list[str]) -> bool:
    """Whether these lines are a whole command: no open quote or here-document, no line that goes on."""
    if lines[-1].endswith("\\"):
        return False
    here = re.search(r"<<-?\s*['\"]?(\w+)", lines[0])
    if here:
        return here[1] in lines[1:]
    try:
        shlex.split("\n".join(lines), comments=True)
    except ValueError:
        return False
    return True


class Done(NamedTuple):
    code: int
    output: str
    errors: str


class Shell:
    """Keeps the folder and the variables from block to block."""

    def __init__(self, folder: Path, scratch: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self._scratch = scratch
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> Done:
        """Run it to its end."""
        state = self._scratch / "state"
        keep = f"status=$?; pwd > {state}.cwd; env -0 > {state}.env; exit $status"
        script = f"trap '{keep}' EXIT; set -aeu -o pipefail; {CURL}\n{command}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if Path(f"{state}.cwd").exists():
            self.folder = Path(Path(f"{state}.cwd").read_text().strip())
            pairs = Path(f"{state}.env").read_text().split("\0")
            self.environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, command: str) -> Path:
        """Leave it running until `close()`. Returns the file that holds what it prints."""
        log = self._scratch / f"running-{len(self._running)}.log"
        with log.open("wb") as output:
            self._running.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {command}"],
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        return log

    @property
    def has_running(self) -> bool:
        """Whether something was left running."""
        return bool(self._running)

    def close(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
