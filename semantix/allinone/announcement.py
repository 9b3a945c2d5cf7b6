"""The last lines of a start: the addresses, and a first request to copy."""

import shlex
import sys
from pathlib import Path

from django.conf import settings

from semantix.allinone.access import Access
from semantix.allinone.database import ADMIN

TEXT = """
Semantix is up.

  API        {url}/memory-logs (also in a browser)
  Admin      {url}/admin/ ({admin})
  Embedder   {embedder}
  Access     {access}
  Data       {data}

A first memory, and a first search:

  curl -s {url}/memory-logs {key}-H 'Content-Type: application/json' -d '{{
    "user_id": "ada", "project_id": "demo", "agent": "coder", "task": "Fix the login timeout",
    "raw_data": {{"solution": "The session outlived its token: refresh it first."}}}}'

  curl -s {url}/memory-logs/search {key}-H 'Content-Type: application/json' -d '{{
    "user_id": "ada", "project_id": "demo", "query": "timeouts at login"}}'

Ctrl-C stops everything.
"""


def announcement(url: str, access: Access, first_password: str | None) -> str:
    """The text. `first_password` is the admin's password if this start created the account, else None."""
    return TEXT.format(
        url=url,
        admin=_admin(first_password),
        embedder=_embedder(),
        access=_access(access),
        key="" if access == "open" else '-H "Authorization: Bearer $KEY" ',
        data=settings.DATA_DIR,
    )


def _admin(first_password: str | None) -> str:
    if first_password is None:
        return f"password forgotten? {_manage()} changepassword {ADMIN}"
    return f"user {ADMIN}, password {first_password} - shown only once"


def _embedder() -> str:
    backend = " ".join(filter(None, [settings.EMBEDDING_BACKEND, settings.EMBEDDING_MODEL]))
    finds = {
        "static": "it finds the meaning of English words; other languages, names and code by their spelling.",
        "hashing": "it finds words and parts of words, not meaning.",
    }
    if settings.EMBEDDING_BACKEND not in finds:
        return backend
    return (
        f"{backend}: {finds[settings.EMBEDDING_BACKEND]}\n"
        "             For meaning in every language put GOOGLE_API_KEY=... into .env and restart."
    )


def _access(access: Access) -> str:
    if access == "open":
        return "open: everybody on this machine can read and write, without a key"
    return (
        "by key only; each key opens one user's memories. Create one and send it with every request:\n"
        f"             KEY=$({_manage()} create_api_key --user-id ada)"
    )


def _manage() -> str:
    """The command as typed in the project's folder. It names our Python, since another one may be first in PATH."""
    python = Path(sys.executable)
    if python.is_relative_to(settings.BASE_DIR):
        python = python.relative_to(settings.BASE_DIR)
    return f"{shlex.quote(str(python))} manage.py"
