"""Whether `up` asks for API keys: not on loopback, where only this machine comes in; everywhere else it does."""

from ipaddress import ip_address
from typing import Literal

from semantix.allinone.errors import StartError

Access = Literal["open", "required"]


def access(host: str, given: str | None) -> Access:
    """What holds on this address; `given` is SEMANTIX_AUTH where it was set. Raises StartError."""
    if given == "open" and not is_loopback(host):
        raise StartError(
            f"SEMANTIX_AUTH=open would let everybody who reaches {host} read and write all memories. Unset it "
            "(requests then need a key: manage.py create_api_key), or listen on HOST=127.0.0.1."
        )
    return "required" if given == "required" or not is_loopback(host) else "open"


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
