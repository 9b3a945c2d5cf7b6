"""A real Redis of the tests' own, in a throw-away folder."""

from pathlib import Path
from typing import Self

import redis

from semantix.allinone.process import Child
from tests.support.free_port import free_port
from tests.support.programs import require


class RedisServer:
    """Listens on a loopback port. Without persistence, unless `arguments` say otherwise."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = None) -> None:
        program = require("redis-server")
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        self._argv = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._argv += ["--save", "", *arguments]
        self.start()

    def start(self) -> None:
        self.process = Child("Redis", self._argv, log=Path(self._argv[6]) / "redis.log")
        self.process.wait_until(self.answers, timeout=60)

    def stop(self) -> None:
        self.process.stop()

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.close()
        self.stop()
