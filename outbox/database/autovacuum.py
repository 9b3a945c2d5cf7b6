"""Autovacuum settings of the outbox's tables, frequent enough to keep the claim fast."""

from collections.abc import Mapping

# Every event is inserted once and updated twice (claimed, settled). Each update leaves a dead row, and dead entries
# in the partial indexes that the claim reads. By default, a vacuum starts when a fifth of the table is dead: with a
# million delivered rows, every claim steps over 200,000 dead entries. With these settings a vacuum starts after
# 1,000 rows plus a hundredth of the table and makes no pauses (cost delay), since a short vacuum is cheap. The insert
# thresholds keep the visibility map fresh, so that outbox_status counts inside the indexes. The statistics are
# refreshed as often, so that the planner knows how few rows wait, however many are delivered.
EVENT: Mapping[str, str] = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_insert_scale_factor": "0.01",
    "autovacuum_vacuum_insert_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0.01",
    "autovacuum_analyze_threshold": "1000",
}
# Failures are written once, have long tracebacks, and are deleted in bulk with their events. This setting frees
# their space sooner than after a fifth of the table.
FAILURE: Mapping[str, str] = {"autovacuum_vacuum_scale_factor": "0.05"}

SETTINGS: Mapping[str, Mapping[str, str]] = {"outbox_event": EVENT, "outbox_failure": FAILURE}


def set_statement(table: str) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in SETTINGS[table].items())
    return f"ALTER TABLE {table} SET ({options})"


def reset_statement(table: str) -> str:
    return f"ALTER TABLE {table} RESET ({', '.join(SETTINGS[table])})"
