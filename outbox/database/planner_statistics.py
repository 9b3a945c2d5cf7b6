"""Columns without statistics: `pg_statistic` keeps values of a column after their rows are gone.

A later ANALYZE replaces them, but not that of a table that is empty by then. The planner needs no statistics of columns
whose values it never compares, or only together with others that are selective by themselves.
"""

from collections.abc import Iterator, Mapping, Sequence


def none_of(columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """For columns by table, the statements that keep ANALYZE from them, each with the one that takes it back."""
    for table, names in columns.items():
        for name in names:
            alter = f"ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS"
            yield f"{alter} 0", f"{alter} -1"
