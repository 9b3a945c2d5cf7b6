"""Folders in which tests that run as root start a Postgres, which runs as another account."""

import os
from pathlib import Path

from semantix.allinone.account import server_account
from semantix.allinone.data_folder import make_private


def reachable(folder: Path) -> Path:
    """Let Postgres's account pass the tests' own folders above `folder`, which pytest closes. Returns `folder`."""
    account = server_account(folder)
    while account and (closed := account.closed_folder_above(folder / "postgres")):
        assert closed.is_relative_to(os.environ["DATA_DIR"]), f"{closed} is not the tests' to open"
        make_private(closed, account)
    return folder
