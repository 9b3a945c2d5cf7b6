"""The version of a memory as its ETag, and If-Match: a change for one version only."""

import re

from rest_framework.exceptions import ParseError
from rest_framework.request import Request

from memories.records.put import ABSENT


def etag(version: int) -> dict[str, str]:
    """The ETag header for this version."""
    return {"ETag": f'"{version}"'}


def expected_version(request: Request) -> int | None:
    """The version that If-Match names, or None for any version. Raises ParseError for a malformed header."""
    given = request.headers.get("If-Match", "*").strip()
    if given == "*":
        return None
    return _version(given)


def expected_for_put(request: Request) -> int | None:
    """As `expected_version`; with `If-None-Match: *` the memory must not exist, so ABSENT. Raises ParseError."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return ABSENT
    return expected_version(request)


def _version(given: str) -> int:
    found = re.fullmatch(r'"?(\d{1,9})"?', given, re.ASCII)
    if not found:
        raise ParseError('If-Match takes one version in the form of an ETag: If-Match: "3".')
    return int(found[1])
