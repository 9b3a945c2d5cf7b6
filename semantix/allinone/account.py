"""The system account that PostgreSQL runs as. PostgreSQL refuses to run as root."""

import logging
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from semantix.allinone.errors import StartError

NAME = "pgserver"
READABLE = stat.S_IRGRP | stat.S_IROTH
PASSABLE = stat.S_IXGRP | stat.S_IXOTH

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int


def server_account(folder: Path) -> Account | None:
    """The account for the server, or None where `up` runs as an ordinary user (the server then runs as that user).

    For root: the owner of the data folder, else the account `pgserver`, which is created if it is missing.
    Raises StartError where it cannot be created.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and folder.stat().st_uid != 0:
        return Account(folder.stat().st_uid, folder.stat().st_gid)
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _make_account()
    return Account(entry.pw_uid, entry.pw_gid)


def _make_account() -> pwd.struct_passwd:
    useradd = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--shell",
        "/usr/sbin/nologin",
        NAME,
    ]
    try:
        made = subprocess.run(useradd, capture_output=True, text=True, check=False)
        return pwd.getpwnam(NAME)  # succeeds too where another start has just created it
    except FileNotFoundError:
        reason = "there is no useradd"
    except KeyError:
        reason = made.stderr.strip()
    raise StartError(
        f"Postgres refuses to run as root, and the account {NAME} cannot be created ({reason}). "
        "Run as an ordinary user, or set DATABASE_URL."
    )


def make_reachable(path: Path) -> None:
    """Let other accounts pass through the folders above `path` (only pass, not list them)."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            logger.info("Postgres does not run as root: chmod o+x %s, so that it reaches %s", folder, path)


def make_readable(folder: Path) -> None:
    """Make programs and libraries under `folder` readable for all, which a strict umask at installation prevents."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        wanted = mode | READABLE | (PASSABLE if mode & stat.S_IXUSR else 0)
        if wanted != mode and not path.is_symlink():
            path.chmod(wanted)
