"""Ids after a restore."""

# Ids that were given out after the backup are lost with it. New rows of these tables must not get them again: clients
# may still hold them, and Chroma may hold documents under them.
GAP = 1_000_000
TABLES_WITH_A_GAP = ("memory_logs", "outbox_event")

CONTINUE = f"""
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT sequence.oid::regclass AS sequence, owner.oid::regclass AS table, attname AS column, owner.relname
        FROM pg_depend JOIN pg_class sequence ON sequence.oid = objid AND sequence.relkind = 'S'
        JOIN pg_class owner ON owner.oid = refobjid
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE deptype IN ('a', 'i') AND owner.relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format(
            'SELECT setval(%L, greatest((SELECT coalesce(max(%I), 0) FROM %s), (SELECT last_value FROM %s)) + %s)',
            found.sequence, found.column, found.table, found.sequence,
            CASE WHEN found.relname IN {TABLES_WITH_A_GAP} THEN {GAP} ELSE 0 END);
    END LOOP;
END $$;
"""
