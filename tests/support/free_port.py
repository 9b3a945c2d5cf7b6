"""A free port for a server of a test, reserved against all other processes of the tests."""

import socket

# Below the ports that the system gives to outgoing connections (from 32768 on Linux, from 49152 elsewhere).
RANGE = range(20_000, 32_000)
# This process keeps the UDP port of the same number open, which nothing else uses. So every process of the tests, and
# of another run at the same time, sees that the port is taken before a server listens there.
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
