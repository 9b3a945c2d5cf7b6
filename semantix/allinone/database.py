"""Making a Postgres ready: pgvector at hand, tables current, somebody who may enter the admin."""

import secrets
from collections.abc import Callable
from contextlib import suppress

import environ
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from outbox.queue.claim import expire_all_leases
from semantix.allinone.errors import StartError

ADMIN = "admin"


def use(url: str) -> None:
    """Point this process at a database that was not there yet when the settings were read."""
    connections.settings["default"].update(environ.Env.db_url_config(url))


def migrate(say: Callable[[str], None]) -> None:
    """Bring the tables up to date. Raises StartError with one line."""
    try:
        _require_pgvector()
        pending = _pending_migrations()
        if pending:
            say(f"Migrating the database ({pending} steps) ...")
            call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as error:
        raise StartError(f"Cannot use Postgres at {_place()}: {_one_line(error)}") from error
    except DatabaseError as error:
        raise StartError(f"Migrating Postgres at {_place()} failed: {_one_line(error)}") from error
    finally:
        connections.close_all()


def forget_lost_workers(say: Callable[[str], None]) -> None:
    """Free what workers of a killed cluster had in hand, minutes before its lease runs out. Only for a database
    that nobody else's cluster works on."""
    with suppress(DatabaseError):  # it is away: the leases run out by themselves
        if freed := expire_all_leases():
            say(f"Taking up again {freed} events that the last cluster had in hand when it was killed.")
    connections.close_all()


def first_admin_password() -> str | None:
    """Make the user `admin` unless somebody can enter already, and return its password: only the hash is
    kept, so say it or it is lost."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(username=ADMIN, email="", password=password)
    connections.close_all()
    return password


def _require_pgvector() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        if cursor.fetchone() is None:
            raise StartError(
                f"Postgres at {_place()} has no pgvector: install it there (the image pgvector/pgvector:pg18 "
                "has it), or unset DATABASE_URL to let `up` start its own."
            )


def _pending_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _place() -> str:
    params = connection.settings_dict
    host = params["HOST"] or params["OPTIONS"].get("host", "localhost")
    return f"{host}:{params['PORT'] or 5432}/{params['NAME']}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
