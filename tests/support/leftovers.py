"""Where a word is still to be found: every table of PostgreSQL, and the files below a folder."""

from pathlib import Path

from django.db import connection


def rows_with(word: str) -> list[str]:
    """The rows that contain the word, of all tables, as `table: row`."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t WHERE strpos(t::text, %s) > 0', [word])
            found += [f"{table}: {row}" for (row,) in cursor.fetchall()]
    return found


def files_with(word: str, folder: Path) -> list[Path]:
    """The files below the folder that contain the word."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if word.encode() in path.read_bytes()]
