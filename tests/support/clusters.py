"""Real django-q2 clusters for tests, on the test's database."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psutil
import psycopg
from django.db import connection

from tests.support.paths import ROOT
from tests.support.waiting import wait_until

# One worker, unless a test needs several: to start one takes a while.
DEFAULTS = {"LOG_LEVEL": "DEBUG", "CLUSTER_WORKERS": "1"}
CUT = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE client_port = ANY(%s)"


class Cluster:
    """`manage.py qcluster` in its own process group. `argv` stands before the command."""

    def __init__(
        self, output: Path, database_url: str, *, argv: Sequence[str] = (), **environment: str
    ) -> None:
        self._output = output
        self._database_url = database_url
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [*argv, sys.executable, "manage.py", "qcluster", "--skip-checks"],
                cwd=ROOT,
                env=os.environ | DEFAULTS | {"DATABASE_URL": database_url} | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait_for_end(self, seconds: float = 60) -> int:
        return self.process.wait(seconds)

    def freeze(self) -> None:
        """Stop all processes, as if their machine were lost. `kill` still works."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def cut_off(self) -> None:
        """Freeze it, and end every session of its processes over TCP, as if its machine were lost.

        Sessions over a Unix socket stay open, as those of a machine that the server still waits for.
        """
        self.freeze()
        ports = {
            address.laddr.port
            for process in self.processes()
            for address in process.net_connections("tcp")
            if address.laddr
        }
        with psycopg.connect(self._database_url) as session:
            session.execute(CUT, [list(ports)])

    def thaw(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def pids(self, announced: str) -> list[int]:
        """The processes whose log line has these words of django-q2 before their pid, in this order."""
        return [int(pid) for pid in re.findall(rf"{announced} (\d+)", self.output)]

    def relay_pid(self) -> int | None:
        """The relay's process, once it has a heartbeat."""
        pids = [process.pid for process in self.processes()]
        with psycopg.connect(self._database_url) as session:
            found = session.execute("SELECT pid FROM outbox_relay WHERE pid = ANY(%s)", [pids]).fetchone()
        return found[0] if found else None

    def wait_until_it_works(self) -> None:
        """Until its relay has a heartbeat. Fails if the cluster ends."""
        wait_until(lambda: self.relay_pid() or self.process.poll() is not None, seconds=60)
        assert self.process.poll() is None, self.output


@contextmanager
def cluster(
    folder: Path,
    *,
    database_url: str | None = None,
    argv: Sequence[str] = (),
    wait: bool = True,
    **environment: str,
) -> Iterator[Cluster]:
    """A running cluster. Its remaining processes are killed at the end of the block.

    `wait`: until it works. Otherwise the caller does that, and starts something else meanwhile.
    """
    output = folder / f"cluster-{len(list(folder.glob('cluster-*')))}.log"
    running = Cluster(output, database_url or url_of_the_tests_database(), argv=argv, **environment)
    try:
        if wait:
            running.wait_until_it_works()
        yield running
    finally:
        running.kill()


def url_of_the_tests_database() -> str:
    """DATABASE_URL with the name of this process's test database."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path="/" + quote(connection.settings_dict["NAME"])))
