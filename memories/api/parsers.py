"""Request bodies: JSON that can be stored unchanged, or an error that says where it cannot."""

import codecs
from collections.abc import Iterable
from itertools import islice
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.request import Request

from memories.api import strict_json
from memories.api.content_coding import decode
from memories.api.errors import Invalid, TooLarge

# The most errors that one answer lists.
MOST_REFUSALS = 20
JSON_NEEDED = "Send JSON with the header Content-Type: application/json."
MERGE_PATCH = "application/merge-patch+json"
# What a body in UTF-16 or UTF-32 has among its first characters, and JSON never has.
NULL = b"\x00"


class StrictJSONParser(JSONParser):
    """JSON that PostgreSQL can store and that every reader reads alike."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        context = parser_context or {}
        _require_utf_8(context.get("encoding") or "utf-8")
        headers = context["request"].headers if "request" in context else {}
        return loads(_body(stream, headers.get("Content-Encoding", "")))


class MergePatchParser(StrictJSONParser):
    """A JSON Merge Patch (RFC 7396), with the limits of any other body."""

    media_type = MERGE_PATCH


class StrictNegotiation(DefaultContentNegotiation):
    """Chooses the parser by the Content-Type. A wildcard (`*/*`) names no type, so no parser takes it."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        declared = request.content_type or ""
        parser = None if "*" in declared else super().select_parser(request, parsers)
        if parser is None:
            raise UnsupportedMediaType("", f"The Content-Type {declared!r} is not supported. {JSON_NEEDED}")
        return parser


def loads(body: bytes) -> Any:
    """Parse JSON in UTF-8 and check it against the limits. Raises ParseError, Invalid."""
    found = read_body(body)
    require_storable(found)
    return found


def read_body(body: bytes) -> Any:
    """Parse JSON in UTF-8 without checking it against the limits. Raises ParseError."""
    return read(_text(body))


def require_storable(body: Any) -> None:
    """Check parsed JSON against the limits. Raises Invalid."""
    if refusals := list(islice(strict_json.refusals(body), MOST_REFUSALS)):
        raise Invalid(refusals)


def read(text: str) -> Any:
    """Parse JSON without checking it against the limits. Raises ParseError."""
    try:
        return strict_json.loads(text)
    except RecursionError as error:
        raise ParseError("The body is nested too deeply.") from error
    except ValueError as error:
        raise ParseError(f"The body is not valid JSON: {error}.") from error


def _body(stream: IO[bytes], coding: str) -> bytes:
    """DRF reads the stream itself, so Django's own limit of its size does not apply."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise TooLarge
    return decode(raw, coding, limit)


def _text(body: bytes) -> str:
    if NULL in body[:4]:
        raise ParseError("The body is not UTF-8: it has null bytes, as UTF-16 has.")
    try:
        return body.decode("utf-8-sig")  # without a byte order mark
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8: {error}.") from error


def _require_utf_8(charset: str) -> None:
    if codecs.lookup(charset).name not in ("utf-8", "ascii"):
        raise UnsupportedMediaType("", f"The charset {charset!r} is not supported. Send JSON in UTF-8.")
