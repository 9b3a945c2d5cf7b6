"""Request bodies: JSON that can be stored unchanged, or an error that says where it cannot."""

from itertools import islice
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from memories.api import strict_json
from memories.api.errors import Invalid, TooLarge

# The most errors that one answer lists.
MOST_REFUSALS = 20


class StrictJSONParser(JSONParser):
    """JSON that PostgreSQL can store and that every reader reads alike."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        body = read(_text(stream))
        if found := list(islice(strict_json.refusals(body), MOST_REFUSALS)):
            raise Invalid(found)
        return body


def read(text: str) -> Any:
    """Parse JSON without checking it against the limits. Raises ParseError."""
    try:
        return strict_json.loads(text)
    except RecursionError as error:
        raise ParseError("The body is nested too deeply.") from error
    except ValueError as error:
        raise ParseError(f"The body is not valid JSON: {error}.") from error


def _text(stream: IO[bytes]) -> str:
    """DRF reads the stream itself, so Django's own limit of its size does not apply."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise TooLarge
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8: {error}.") from error
