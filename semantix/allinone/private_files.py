"""Files that `up` writes for its other processes. Only the account that runs `up` can read them."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def secret_key(path: Path) -> str:
    """The key in the file `path`, which is created the first time."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(50))
    return path.read_text().strip()


def write_services(path: Path, services: Mapping[str, str]) -> None:
    """Write the settings of the running services, so that `manage.py` in another terminal uses the same services."""
    lines = [f"{name}={value}" for name, value in services.items()]
    write_private(
        path, "\n".join(["# Written by a running `manage.py up`; removed when it stops.", *lines, ""])
    )


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, so that a crash leaves the old or the new content. Others can never read it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
