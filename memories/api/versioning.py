"""A memory's version as its ETag: a change can be made for that version only (If-Match)."""

import re

from rest_framework.exceptions import ParseError
from rest_framework.request import Request


def etag(version: int) -> dict[str, str]:
    """The header that tells the version."""
    return {"ETag": f'"{version}"'}


def expected_version(request: Request) -> int | None:
    """The version that the request is meant for; None: whichever there is."""
    given = request.headers.get("If-Match", "*").strip()
    if given == "*":
        return None
    found = re.fullmatch(r'"?(\d{1,9})"?', given, re.ASCII)
    if not found:
        raise ParseError('If-Match takes one version, as the ETag gave it: If-Match: "3".')
    return int(found[1])
