"""The command, port and address of the web server's process."""

import errno
import socket
import sys

from semantix.allinone.errors import StartError


def command(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "semantix.web", "--host", host, "--port", str(port)]


def require_free_port(host: str, port: int) -> None:
    """Raise StartError now where the port is taken, not after everything else has started."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"Port {port} on {host} is in use by another program. Stop that program, or choose another "
                f"port, for example PORT={port + 1} make run."
            ) from None
        raise StartError(f"Cannot listen on {host}:{port}: {error.strerror}. Set HOST and PORT.") from None


def base_url(host: str, port: int) -> str:
    """An address for a browser on this machine. A server on all addresses is reached by loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{reachable}:{port}"
