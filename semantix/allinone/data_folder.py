"""The data folder: private, and still reachable for Postgres where `up` runs as root."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from semantix.allinone.account import NAME, Account, server_account
from semantix.allinone.errors import StartError

# No file that `up` or its children create is readable for other accounts.
PRIVATE_UMASK = 0o077
# Where root keeps the database if the server's account cannot reach the data folder.
ELSEWHERE = Path("/var/lib/semantix")


def make_private(folder: Path, account: Account | None = None) -> None:
    """Close the folder to other accounts: mode 0700, or 0710 for the group of the server's `account`.

    Raises StartError for a folder that is meant for several accounts, like /tmp.
    """
    found = folder.stat()
    if found.st_mode & stat.S_ISVTX:
        raise StartError(f"{folder} is shared by all accounts. Set DATA_DIR to a folder of its own.")
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        return  # only its owner may close it: a volume that belongs to another account
    if account is None or account.uid == found.st_uid:
        folder.chmod(0o700)
    else:
        os.chown(folder, -1, account.gid)
        folder.chmod(0o710)


def place_for_postgres(folder: Path, say: Callable[[str], None]) -> Path:
    """`folder`, or a link there to a place that the server's account can reach. Raises StartError without such a place.

    The modes of the folders above are never changed.
    """
    account = server_account(folder)
    closed = account.closed_folder_above(folder) if account else None
    if account is None or closed is None or folder.is_symlink():
        return folder
    if folder.exists():
        raise StartError(unreachable(folder, closed))
    place = ELSEWHERE / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    try:
        place.mkdir(parents=True, exist_ok=True)
        place.parent.chmod(0o755)
        make_private(place, account)
        folder.symlink_to(place / folder.name)
    except OSError:
        raise StartError(unreachable(folder, closed)) from None
    say(
        f"Postgres does not run as root, and its account {NAME} may not enter {closed}. So the database is kept in"
    )
    say(f"{place}, and {folder} is a link to it.")
    return folder


def unreachable(folder: Path, closed: Path) -> str:
    return (
        f"Postgres does not run as root, and its account {NAME} may not enter {closed}, so it cannot reach {folder}. "
        f"Move the data to a folder outside of {closed} and set DATA_DIR to it, or run as an ordinary user."
    )
