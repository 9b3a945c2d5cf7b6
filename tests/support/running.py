"""`manage.py up` as a process: its output, its children and what it leaves behind."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import psycopg

from semantix.allinone.chroma import COLLECTIONS
from tests.support.free_port import free_port
from tests.support.paths import ROOT
from tests.support.postgres_folder import reachable
from tests.support.waiting import wait_until

# What was away is tried again at once: for how long it is left alone is not what is tested here.
SOON = {"OUTBOX_CIRCUIT_CAP_SECONDS": "1"}
LAST_LINE = "Ctrl-C stops everything."
# Any one will do that is not root; it need not exist.
ORDINARY_USER = 65534


class Up:
    """Starts at construction over the folder `data`, from a working folder outside the project. The `with` ends it.

    `opened`: let Postgres's account pass the folders above, which pytest closes.
    """

    def __init__(
        self, data: Path, *, ordinary_user: bool = False, opened: bool = True, **environment: str
    ) -> None:
        self.data = reachable(data) if opened else data
        self.port = int(environment.get("PORT", free_port()))
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = data.with_name(f"{data.name}.output")
        # The socket of a killed one goes with the tests' folder.
        scratch = os.environ["DATA_DIR"]
        given = {"DATA_DIR": str(data), "PORT": str(self.port), "TMPDIR": scratch, "CLUSTER_WORKERS": "1"}
        given |= environment
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [
                    *(_as_ordinary_user() if ordinary_user else []),
                    sys.executable,
                    str(ROOT / "manage.py"),
                    "up",
                ],
                cwd="/",
                env=outside_the_tests() | given,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for_line(self, text: str) -> None:
        wait_until(lambda: text in self.output or self.process.poll() is not None, seconds=60)
        assert text in self.output, self.output

    def wait_until_up(self) -> Self:
        self.wait_for_line(LAST_LINE)
        return self

    def wait_for_end(self, seconds: float = 60) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send the signal and wait. Returns the exit code."""
        self.process.send_signal(number)
        return self.wait_for_end()

    def cut_power(self) -> None:
        """Kill all processes. All stop before the first dies, so that none can see it die and clean up."""
        processes = [*self._workers(), *self.processes()]
        for end in (psutil.Process.suspend, psutil.Process.kill):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    end(process)
        self.wait_for_end()
        wait_until(lambda: not self.processes())

    def _workers(self) -> list[psutil.Process]:
        cluster = self.child("qcluster")
        return [*cluster.children(recursive=True), cluster]

    def processes(self) -> list[psutil.Process]:
        """All processes that use the data folder: it is in their environment, arguments or working folder."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def accounts(self) -> set[int]:
        """The user ids of all processes."""
        found = set()
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                found.add(process.uids().effective)
        return found

    def child(self, argument: str) -> psutil.Process:
        """The direct child whose command contains `argument`."""
        children = psutil.Process(self.process.pid).children()
        return next(p for p in children if any(argument in word for word in p.cmdline()))

    def manage(self, *command: str) -> str:
        """The output of a `manage.py` command, run as from another terminal."""
        environment = outside_the_tests() | {"DATA_DIR": str(self.data)}
        argv = [sys.executable, str(ROOT / "manage.py"), *command]
        return subprocess.run(
            argv, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        response = httpx.post(self.url + path, json=body, timeout=60, verify=False)
        assert response.is_success, response.text
        return response.json()

    def ask(self, query: str) -> list[Any]:
        """The rows that the query returns from its database."""
        with psycopg.connect(self._service("DATABASE_URL")) as connection:
            return connection.execute(query).fetchall()

    def indexed(self) -> int:
        """The number of rows in all collections of its Chroma; 0 while Chroma does not answer."""
        collections = self._service("CHROMA_URL") + COLLECTIONS
        try:
            with httpx.Client(verify=False, timeout=60) as client:
                ids = [each["id"] for each in client.get(collections).raise_for_status().json()]
                counts = [client.get(f"{collections}/{id}/count").raise_for_status() for id in ids]
        except httpx.HTTPError:
            return 0
        return sum(count.json() for count in counts)

    def _service(self, name: str) -> str:
        (url,) = re.findall(f"^{name}=(.*)", (self.data / "services.env").read_text(), re.MULTILINE)
        return str(url)

    def is_idle(self) -> bool:
        """Whether no event is pending or claimed."""
        return not self.ask("SELECT FROM outbox_event WHERE status IN ('pending', 'claimed')")

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            folder = str(self.data)
            return (
                process.environ().get("DATA_DIR") == folder
                or any(folder in word for word in process.cmdline())
                or process.cwd().startswith(folder)
            )
        return False


class Home:
    """A data folder whose `up` runs from test to test. It starts again only after a test has ended it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._up: Up | None = None

    def up(self, **environment: str) -> Up:
        """The running `up`. Where none runs, it is started with `environment`."""
        if self._up is None or self._up.process.poll() is not None:
            self._up = Up(self.data, **SOON | environment)
            self._up.wait_until_up()
        return self._up

    def leave(self) -> None:
        if self._up:
            self._up.__exit__()


def outside_the_tests() -> dict[str, str]:
    """The environment without what names the tests' own services."""
    ours = {"DATABASE_URL", "CHROMA_URL", "SECRET_KEY", "DATA_DIR", "SEMANTIX_AUTH", "DJANGO_SETTINGS_MODULE"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _as_ordinary_user() -> list[str]:
    """For tests that run as root: switch to another account that may read root's files (a clone under /root)."""
    if os.geteuid() != 0:
        return []
    account = [f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups"]
    return ["setpriv", *account, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
