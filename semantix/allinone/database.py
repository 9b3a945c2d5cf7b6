"""Prepare the database: check for pgvector, migrate, create the first admin account."""

import secrets
from collections.abc import Callable
from contextlib import suppress

import environ
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import Error, InterfaceError, OperationalError, ProgrammingError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from memories.checks import locale_without_letters
from memories.models import MemoryLog
from outbox.counting import counted
from outbox.queue.lost import reclaim_all
from semantix.allinone.errors import StartError

ADMIN = "admin"


def use(url: str) -> None:
    """Point this process at a database that did not exist when the settings were read."""
    connections.settings["default"].update(environ.Env.db_url_config(url))


def migrate(say: Callable[[str], None]) -> None:
    """Apply the migrations. Raises StartError with one line."""
    try:
        _require_pgvector()
        pending = _pending_migrations()
        if pending:
            say(f"Migrating the database ({pending} steps) ...")
            call_command("migrate", interactive=False, verbosity=0)
    except (OperationalError, InterfaceError) as error:
        raise StartError(f"Cannot use Postgres at {_place()}: {_one_line(error)}") from error
    except Error as error:
        raise StartError(f"Migrating Postgres at {_place()} failed: {_one_line(error)}") from error
    finally:
        connections.close_all()


def tell_problems_of_locale(say: Callable[[str], None]) -> None:
    """Say so if the database was made with the locale C, as those of former versions were."""
    with suppress(Error):
        for found in locale_without_letters():
            say(str(found))
    connections.close_all()


def forget_lost_workers(say: Callable[[str], None]) -> None:
    """Return the claims of a killed cluster to the queue now. The next relay would need some seconds to find it dead.

    Only for a database that no other cluster uses.
    """
    with suppress(Error):  # without the database nothing can be returned now
        if freed := reclaim_all():
            returned = counted(freed, "event")
            say(f"Returned {returned} to the queue: the last cluster was killed after its claim.")
    connections.close_all()


def first_admin_password() -> str | None:
    """Create the user `admin` unless a superuser exists, and return its password, else None.

    Only the hash is stored, so the caller must show the password.
    """
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(username=ADMIN, email="", password=password)
    connections.close_all()
    return password


def prepare_extension() -> None:
    """Create the extension where it is missing. Raises StartError where it is not installed, or may not be created."""
    _require_pgvector()
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except ProgrammingError as error:
        raise StartError(
            f"The extension vector is missing at {_place()}, and this role may not create it ({_one_line(error)}). Let "
            "a superuser create it there: CREATE EXTENSION vector."
        ) from None


def count_memories() -> int:
    """The number of memories; 0 in a database without our tables."""
    try:
        return MemoryLog.objects.count()
    except ProgrammingError:
        return 0


def _require_pgvector() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        if cursor.fetchone() is None:
            raise StartError(
                f"Postgres at {_place()} has no pgvector. Install it there (the image pgvector/pgvector:pg18 "
                "has it), or unset DATABASE_URL so that `up` starts its own Postgres."
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
