"""The system account that PostgreSQL runs as. PostgreSQL refuses to run as root."""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from semantix.allinone.errors import StartError

NAME = "pgserver"


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int

    def may_execute(self, path: Path) -> bool:
        """Whether the modes of the file and of all folders above it let this account execute it."""
        return self.closed_folder_above(path) is None and self._may_pass(path)

    def closed_folder_above(self, path: Path) -> Path | None:
        """The topmost existing folder above `path` that this account may not enter, or None."""
        above = (folder for folder in reversed(path.parents) if folder.exists())
        return next((folder for folder in above if not self._may_pass(folder)), None)

    def _may_pass(self, path: Path) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == self.gid else stat.S_IXOTH))


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
