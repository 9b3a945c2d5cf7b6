"""Folders in which tests that run as root start a Postgres, which runs as another account."""

import os
from pathlib import Path

from semantix.allinone.account import server_account


def reachable(folder: Path) -> Path:
    """Let every account pass the tests' own folders above `folder`, which pytest closes. Returns `folder`.

    Every account: the Postgres of another test may run as another one, and must not be locked out.
    """
    account = server_account(folder)
    while account and (closed := account.closed_folder_above(folder / "postgres")):
        assert closed.is_relative_to(os.environ["DATA_DIR"]), f"{closed} is not the tests' to open"
        closed.chmod(closed.stat().st_mode | 0o011)
    return folder
