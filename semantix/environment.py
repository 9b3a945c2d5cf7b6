"""The environment, read so that a value that cannot be is refused under the name of its setting."""

from collections.abc import Sequence
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

POSTGRES = ("postgresql", "postgres", "pgsql", "psql")


class Environment(environ.Env):  # type: ignore[misc]  # the library has no types
    """`environ.Env`, whose own complaints say what was wrong, but not where."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as error:
            raise wrong(var, str(error)) from error

    def one_of(self, var: str, choices: Sequence[str], *, default: str) -> str:
        value: str = self.get_value(var, default=default)
        if value not in choices:
            raise wrong(var, f"{value!r} is none of {', '.join(choices)}")
        return value

    def port(self, var: str, *, default: int) -> int:
        value: int = self.get_value(var, cast=int, default=default)
        if not 1 <= value <= 65535:
            raise wrong(var, f"{value} is no port, which is a number from 1 to 65535")
        return value

    def postgres(self, var: str, *, default: str) -> dict[str, Any]:
        """The database of an address, as Django's DATABASES has it."""
        if self.get_value(var, default=default).partition("://")[0] not in POSTGRES:
            raise wrong(var, "this is no address like postgresql://user:password@host:5432/name")
        found: dict[str, Any] = self.db_url(var, default=default)
        return found


def wrong(var: str, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{var}: {why}. Correct it in .env or in the process environment.")
