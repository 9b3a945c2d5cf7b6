"""The journal of Chroma's database: a write-ahead log instead of SQLite's default, a rollback journal.

`python -m semantix.allinone.journal FOLDER` sets it for a server that `manage.py up` does not start.

Each upsert is four transactions. With a rollback journal each of them waits four times for the disk and keeps all
readers away; with a write-ahead log it waits once, and readers go on. Both are equally durable.
"""

import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

# The file with everything except the vectors.
STORE = "chroma.sqlite3"


def keep_write_ahead_log(folder: Path) -> None:
    """Set the mode in the database of the folder, which keeps it, and empty the log. No server may use the folder.

    A file that SQLite cannot open stays as it is: Chroma's own message says more. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(sqlite3.Error), closing(sqlite3.connect(folder / STORE)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


if __name__ == "__main__":
    keep_write_ahead_log(Path(sys.argv[1]))
