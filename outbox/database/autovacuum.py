"""How often PostgreSQL vacuums the outbox's tables: often enough that the claim stays fast."""

from collections.abc import Mapping

# Every event is inserted once and updated twice (claimed, settled), and each update leaves a dead row, and dead
# entries in the partial indexes that the claim reads. By default a vacuum waits until a fifth of the table is
# dead: with a million delivered rows kept, that is 200,000 dead entries for every claim to step over. Here it
# comes after 1,000 rows and a hundredth of the table, and does not pause on its way (cost delay): a short
# vacuum is a cheap one. The insert side also keeps the visibility map fresh, which lets the counts of
# outbox_status stay inside the indexes. The statistics are refreshed as often, so that the planner knows how
# few rows wait, whatever was delivered.
EVENT: Mapping[str, str] = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_insert_scale_factor": "0.01",
    "autovacuum_vacuum_insert_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0.01",
    "autovacuum_analyze_threshold": "1000",
}
# Written once, with long tracebacks, and deleted in bulk together with the events they belong to: the room is
# given back sooner than after a fifth of the table.
FAILURE: Mapping[str, str] = {"autovacuum_vacuum_scale_factor": "0.05"}

SETTINGS: Mapping[str, Mapping[str, str]] = {"outbox_event": EVENT, "outbox_failure": FAILURE}


def set_statement(table: str) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in SETTINGS[table].items())
    return f"ALTER TABLE {table} SET ({options})"


def reset_statement(table: str) -> str:
    return f"ALTER TABLE {table} RESET ({', '.join(SETTINGS[table])})"
