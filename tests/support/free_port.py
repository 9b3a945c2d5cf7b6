"""A port for a server of a test's own, which nobody else of the tests takes meanwhile."""

import socket

# Below those that the system itself gives to outgoing connections (from 32768 on Linux, from 49152 elsewhere).
RANGE = range(20_000, 32_000)
# Its namesake of UDP, which nobody uses, is held as long as this process lives: so each process of the tests, also
# of another run beside it, sees which are taken, before any server listens there.
_held: list[socket.socket] = []


def free_port() -> int:
    return next(port for port in RANGE if _is_ours(port))


def _is_ours(port: int) -> bool:
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    _held.append(claim)
    return True
