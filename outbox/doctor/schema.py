"""Examinations of the database: migrations, triggers, indexes, autovacuum."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import UniqueConstraint

from outbox.conf import conf
from outbox.database import autovacuum
from outbox.database.triggers import TRIGGERS, create_triggers, differing_triggers, enabled_triggers
from outbox.doctor.finding import Finding

# Of the tables that exist.
WITHOUT_PRIMARY_KEY = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname = ANY(%s)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'p')
ORDER BY relname
"""


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "outbox"]
    missing = [migration.name for migration, _ in executor.migration_plan(targets)]
    return Finding(
        name="migrations",
        ok=not missing,
        expected="all of outbox's migrations are applied",
        actual=f"missing: {', '.join(missing)}" if missing else "all are applied",
        repair="python manage.py migrate",
        fix=lambda: call_command("migrate", "outbox", verbosity=0),
    )


def triggers() -> Finding:
    wanted = "enabled" if conf.WAKEUP == "listen" else "disabled"
    words = {None: "missing", True: "enabled", False: "disabled"}
    found = enabled_triggers()
    actual = {name: words[found.get(name)] for name in TRIGGERS}
    wrong = [f"{name} is {state}" for name, state in actual.items() if state != wanted]
    wrong += [f"{name} has another function" for name in differing_triggers()]
    return Finding(
        name="wakeup triggers",
        ok=not wrong,
        expected=f"{wanted} (OUTBOX_WAKEUP={conf.WAKEUP})",
        actual="; ".join(wrong) or wanted,
        repair="python manage.py outbox_doctor --fix creates them again and sets them as OUTBOX_WAKEUP says",
        fix=create_triggers,
    )


def indexes() -> Finding:
    """The indexes and the unique constraint, which keeps an aggregate's events one at a time."""
    broken = list(_broken_indexes())
    return Finding(
        name="indexes",
        ok=not broken,
        expected="all are there and valid",
        actual="; ".join(f"{index.name} is {state}" for index, state in broken) or "all are there and valid",
        repair="python manage.py outbox_doctor --fix builds them without blocking writes",
        fix=lambda: _build(broken),
    )


def primary_keys() -> Finding:
    """A restore that was stopped half-way can leave tables without primary keys, where ids are then given twice."""
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT_PRIMARY_KEY, [_tables()])
        missing = [name for (name,) in cursor.fetchall()]
    return Finding(
        name="primary keys",
        ok=not missing,
        expected="every table has its primary key",
        actual=f"without: {', '.join(missing)}" if missing else "every table has its primary key",
        repair="Restore the backup again, in one transaction (pg_restore --single-transaction).",
    )


def _tables() -> list[str]:
    return [model._meta.db_table for model in apps.get_models() if model._meta.managed]  # noqa: SLF001


class Expected(NamedTuple):
    """An index of the models, and the statement that creates it."""

    name: str
    create: str


def _broken_indexes() -> Iterator[tuple[Expected, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexrelid::regclass::text, indisvalid FROM pg_index")
        valid = dict(cursor.fetchall())
    for index in _expected_indexes():
        if index.name not in valid:
            yield index, "missing"
        elif not valid[index.name]:
            yield index, "invalid"


def _expected_indexes() -> Iterator[Expected]:
    with connection.schema_editor(collect_sql=True) as editor:
        for model in apps.get_app_config("outbox").get_models():
            options = model._meta  # noqa: SLF001 - Django's documented name for it
            unique = [found for found in options.constraints if isinstance(found, UniqueConstraint)]
            for index in [*options.indexes, *unique]:
                yield Expected(index.name, str(index.create_sql(model, editor)))


def _build(broken: Iterable[tuple[Expected, str]]) -> None:
    """Build them CONCURRENTLY, which blocks no write. An invalid index of an interrupted build is built again."""
    with connection.cursor() as cursor:
        for index, state in broken:
            if state == "invalid":
                cursor.execute(f"DROP INDEX CONCURRENTLY {index.name}")
            cursor.execute(index.create.replace(" INDEX ", " INDEX CONCURRENTLY ", 1))


def vacuum() -> Finding:
    actual = {table: _options(table) for table in autovacuum.SETTINGS}
    differing = [
        f"{table}: {name} is {actual[table].get(name, 'not set')}, not {value}"
        for table, wanted in autovacuum.SETTINGS.items()
        for name, value in wanted.items()
        if actual[table].get(name) != value
    ]
    off = [f"{table}: autovacuum is off" for table in actual if _is_off(actual[table])]
    return Finding(
        name="autovacuum",
        ok=not differing and not off,
        expected="on, with the settings in outbox/database/autovacuum.py",
        actual="; ".join([*off, *differing]) or "on, with these settings",
        repair="python manage.py outbox_doctor --fix sets them",
        fix=_set_autovacuum,
    )


def _options(table: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT option_name, option_value FROM pg_class, pg_options_to_table(reloptions) "
            "WHERE oid = %s::regclass",
            [table],
        )
        return dict(cursor.fetchall())


def _is_off(options: dict[str, Any]) -> bool:
    return options.get("autovacuum_enabled", "on").lower() in ("off", "false", "no", "0")


def _set_autovacuum() -> None:
    with connection.cursor() as cursor:
        for table in autovacuum.SETTINGS:
            cursor.execute(f"ALTER TABLE {table} RESET (autovacuum_enabled)")
            cursor.execute(autovacuum.set_statement(table))
