"""What Chroma's database lacks for many tenants: a write-ahead log, and two indexes.

`python -m semantix.allinone.chroma_database FOLDER` sets both for a server that `manage.py up` does not start.

Each upsert is four transactions. With SQLite's default, a rollback journal, each of them waits four times for the disk
and keeps all readers away; with a write-ahead log it waits once, and readers go on. Both are equally durable.

Each call looks for the two segments of its collection and for the entries of its collection in the queue of writes,
where Chroma leaves one entry of each collection. Without indexes it reads all of both tables: 7 MB with 1,000
collections, in each upsert.
"""

import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

# The file with everything except the vectors.
STORE = "chroma.sqlite3"
# Chroma's own migrations make no index with these names, and ignore further ones.
INDEXES = {
    "semantix_segments_by_collection": "segments (collection)",
    "semantix_queue_by_topic": "embeddings_queue (topic, seq_id)",
}


def keep_write_ahead_log(folder: Path) -> None:
    """Set the mode in the database of the folder, which keeps it, and empty the log. No server may use the folder.

    A file that SQLite cannot open stays as it is: Chroma's own message says more. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(sqlite3.Error), closing(sqlite3.connect(folder / STORE)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def create_indexes(folder: Path) -> bool:
    """Create the indexes that the database of the folder lacks. A server may use it meanwhile.

    Returns False where that cannot be done now: the tables do not exist before the first start of a server, and a busy
    database stays as it is until the next start.
    """
    try:
        with closing(
            sqlite3.connect(f"{(folder / STORE).as_uri()}?mode=rw", timeout=1, uri=True)
        ) as database:
            for name, columns in INDEXES.items():
                database.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {columns}")
    except sqlite3.Error:
        return False
    return True


def prepare(folder: Path) -> None:
    """Set the log and the indexes of a folder that no server uses. Raises OSError."""
    folder = folder.resolve()
    keep_write_ahead_log(folder)
    if not create_indexes(folder):
        # A new folder. Chroma's library makes the tables, as its server would.
        from chromadb import PersistentClient
        from chromadb.config import Settings

        PersistentClient(str(folder), Settings(anonymized_telemetry=False))
        create_indexes(folder)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
