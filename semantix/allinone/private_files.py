"""What `up` writes for the processes beside it, readable only by who started it."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def secret_key(path: Path) -> str:
    """The key kept in `path`, made the first time."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(50))
    return path.read_text().strip()


def write_services(path: Path, services: Mapping[str, str]) -> None:
    """Settings of the running services, so that `manage.py` in another terminal reaches the same ones."""
    lines = [f"{name}={value}" for name, value in services.items()]
    write_private(path, "\n".join(["# Of a running `manage.py up`; removed when it stops.", *lines, ""]))


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, never readable by others: a crash leaves the old one or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
