"""What an error of the database says: that PostgreSQL is away, or that it refuses the data."""

from django.db import InterfaceError, OperationalError

# SQLSTATE classes of a lost connection, a server without resources, and a server that shuts down.
AWAY = ("08", "53", "57P")
# SQLSTATE classes of a value out of range, a violated constraint or view, a limit of the program, and an error that a
# trigger raises. With the same rows the statement fails again.
REFUSED = ("22", "23", "44", "54", "P0")


def is_away(error: BaseException) -> bool:
    """Whether the error says nothing about the data, because PostgreSQL could not work at all."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = _state(error)
    return not state or state.startswith(AWAY)


def refuses_data(error: BaseException) -> bool:
    """Whether PostgreSQL refuses one of the rows that the statement writes. The other rows can be written."""
    return _state(error).startswith(REFUSED)


def _state(error: BaseException) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""
