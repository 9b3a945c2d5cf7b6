"""Which updates a caller may follow. Streams use the same keys, sessions and answers as the rest of the API."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.http import HttpRequest
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotAuthenticated,
    ParseError,
    PermissionDenied,
)

from memories.api.authentication import REFUSED_KEY, SCHEMES, is_open
from memories.api.throttling import count_refusal
from memories.auth import api_keys
from memories.auth.access import EVERYTHING, Access

T = TypeVar("T")

# A thread keeps a connection to the database. With a thread for each stream, the streams would use up connections. One
# is enough: a check is a read of one row, at most, and a stream makes one every LIVE_HEARTBEAT_SECONDS.
thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="live-admission")


class Sender(NamedTuple):
    """What a request shows of its sender. `authorization`: the header; `session_key`: the cookie of the admin."""

    authorization: str
    session_key: str | None
    address: str


@dataclass(frozen=True)
class Admission:
    """`access`: the tenants to follow. `owner`: whose stream it is; LIVE_STREAMS_PER_KEY counts by it."""

    sender: Sender
    access: Access
    owner: str

    async def is_valid(self) -> bool:
        """Whether the key or the session still gives access. A stream asks with every heartbeat."""
        try:
            _access, owner = await _in_thread(lambda: _identify(self.sender))
        except APIException:
            return False
        except (DatabaseError, InterfaceError):
            return True  # nobody can tell now; without the database no update flows either
        return owner == self.owner


async def admit(sender: Sender, wanted: Mapping[str, str]) -> Admission:
    """Admit a caller to the updates of the user_id and project_id in `wanted`, or of all its tenants.

    Raises the errors that DRF raises, and django.db.Error.
    """
    access, owner = await _in_thread(lambda: _counting_refusals(sender))
    return Admission(sender, narrowed(access, wanted), owner)


def narrowed(access: Access, wanted: Mapping[str, str]) -> Access:
    """`access` to the wanted tenants only. A foreign tenant gets the same answer whether it exists or not."""
    user_id, project_id = wanted.get("user_id"), wanted.get("project_id")
    if project_id is not None and user_id is None and access.user_id is None:
        raise ParseError("project_id needs a user_id as well: projects of two users may have the same name.")
    asked = replace(access, user_id=user_id or access.user_id, project_id=project_id or access.project_id)
    if not access.covers(asked.user_id or "", asked.project_id):
        raise PermissionDenied("This API key is for another user or project.")
    return asked


def _counting_refusals(sender: Sender) -> tuple[Access, str]:
    try:
        return _identify(sender)
    except (AuthenticationFailed, NotAuthenticated):
        count_refusal(sender.address)
        raise


def _identify(sender: Sender) -> tuple[Access, str]:
    close_old_connections()
    scheme, _, key = sender.authorization.partition(" ")
    if scheme.lower() in SCHEMES:
        row = api_keys.holder(key.strip())
        if row is None:
            raise AuthenticationFailed(REFUSED_KEY)
        return Access.of(row), f"key {row.prefix}"
    if is_open():
        return EVERYTHING, ""
    user = _user_of(sender.session_key)
    if user.is_superuser:
        return EVERYTHING, f"user {user.pk}"
    raise NotAuthenticated


def _user_of(session_key: str | None) -> Any:
    """The user of a session. It is anonymous after a logout, a change of the password, or without a session."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    return get_user(request)


def session_key_of(cookies: Mapping[str, str]) -> str | None:
    return cookies.get(settings.SESSION_COOKIE_NAME)


async def _in_thread(function: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, function)
