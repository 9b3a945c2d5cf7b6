"""Read settings from the environment: name the setting in each error, and find misspelt names."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

YES = environ.Env.BOOLEAN_TRUE_STRINGS
NO = ("false", "off", "n", "no", "0")
# Prefixes that variables of other programs do not have.
OUR_PREFIXES = ("SEMANTIX_", "OUTBOX_", "EMBEDDING_", "CHROMA")
# From this similarity on (1 is equal) one name counts as a misspelling of the other.
SIMILARITY = 0.85
POSTGRES = ("postgresql", "postgres", "pgsql", "psql")


class Environment(environ.Env):  # type: ignore[misc]  # the library has no types
    """`environ.Env` with errors that name the setting. The library's own errors name only the wrong value."""

    # Every name that was read.
    known: ClassVar[set[str]] = set()

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        self.known.add(var)
        given = self.ENVIRON.get(var, "")
        if given.startswith("$") and given.lstrip("$") not in self.ENVIRON:
            raise wrong(
                var, "a value that begins with $ names another variable, and that variable does not exist"
            )
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as error:
            raise wrong(var, str(error)) from error

    def bool(self, var: str, default: bool) -> bool:
        """A yes or a no. The library would take every other word for a no."""
        given = self.ENVIRON.get(var, "").strip().lower()
        if given not in ("", *YES, *NO):
            raise wrong(var, f"{given!r} is neither true nor false")
        value: bool = super().bool(var, default=default)
        return value

    def address(self, var: str, example: str, *, default: str) -> str:
        """The URL of a server: a host, and the scheme of the example or its secure variant (http, https)."""
        value: str = self.get_value(var, default=default)
        scheme = urlsplit(example).scheme
        found = urlsplit(value)
        if value and (found.scheme not in (scheme, f"{scheme}s") or not found.hostname):
            raise wrong(var, f"{value!r} is not an address like {example}")
        return value

    def strings(self, var: str) -> dict[str, str]:
        """A JSON object with texts as values; empty without the variable."""
        value = self.json(var, default={})
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise wrong(var, 'it is not a JSON object with texts as values, like {"name": "value"}')
        return value

    def one_of(self, var: str, choices: Sequence[str], *, default: str) -> str:
        value: str = self.get_value(var, default=default)
        if value not in choices:
            raise wrong(var, f"{value!r} is not one of {', '.join(choices)}")
        return value

    def days(self, var: str, *, default: int) -> int | None:
        """A number of days; None for `forever`."""
        if self.ENVIRON.get(var, "").strip().lower() == "forever":
            self.known.add(var)
            return None
        value: int = self.get_value(var, cast=int, default=default)
        if value < 0:
            raise wrong(var, f"{value} is no number of days; write 0 or more, or forever")
        return value

    def port(self, var: str, *, default: int) -> int:
        value: int = self.get_value(var, cast=int, default=default)
        if not 1 <= value <= 65535:
            raise wrong(var, f"{value} is not a port: ports are numbers from 1 to 65535")
        return value

    def postgres(self, var: str, *, default: str) -> dict[str, Any]:
        """The database that the URL names, as an entry of Django's DATABASES."""
        if self.get_value(var, default=default).partition("://")[0] not in POSTGRES:
            raise wrong(var, "the value is not an address like postgresql://user:password@host:5432/name")
        found: dict[str, Any] = self.db_url(var, default=default)
        return found


def misspelt(env_file: Path) -> dict[str, str]:
    """Variables that are no setting but resemble one, each with that setting's name.

    Looks at all names in `env_file`, and at those in the process environment that have one of our prefixes.
    """
    named = set(_names_in(env_file)) | {name for name in os.environ if name.startswith(OUR_PREFIXES)}
    similar = {name: get_close_matches(name, Environment.known, n=1, cutoff=SIMILARITY) for name in named}
    return {name: found[0] for name, found in sorted(similar.items()) if found and found[0] != name}


def _names_in(env_file: Path) -> list[str]:
    with suppress(OSError):
        return re.findall(r"^(?:export )?([A-Za-z_0-9]+)=", env_file.read_text(), re.MULTILINE)
    return []


def wrong(var: str, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{var}: {why}. Correct it in .env or in the process environment.")
