"""Decide whether `up` requires API keys: not on loopback, which only this machine reaches; everywhere else it does."""

from ipaddress import ip_address
from typing import Literal

from semantix.allinone.errors import StartError

Access = Literal["open", "required"]


def access(host: str, given: str | None) -> Access:
    """The access mode for the address `host`. `given` is SEMANTIX_AUTH, or None where it is unset.

    Raises StartError where `given` is open and other machines reach the address.
    """
    if given == "open" and not is_loopback(host):
        raise StartError(
            f"SEMANTIX_AUTH=open would let everybody who reaches {host} read and write all memories. Unset "
            "SEMANTIX_AUTH (requests then need a key: manage.py create_api_key), or set HOST=127.0.0.1."
        )
    return "required" if given == "required" or not is_loopback(host) else "open"


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
