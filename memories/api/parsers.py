"""Request bodies: JSON that can be kept as it is, or a 4xx that says where it cannot."""

from itertools import islice
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from memories.api import strict_json
from memories.api.errors import Invalid, TooLarge

# What an answer names at most, however much is wrong.
MOST_REFUSALS = 20


class StrictJSONParser(JSONParser):
    """JSON without what PostgreSQL cannot store or two readers would read differently."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        body = read(_text(stream))
        if found := list(islice(strict_json.refusals(body), MOST_REFUSALS)):
            raise Invalid(found)
        return body


def read(text: str) -> Any:
    """The JSON as it stands, not looked into yet. Raises ParseError."""
    try:
        return strict_json.loads(text)
    except RecursionError as error:
        raise ParseError("The body is nested too deeply.") from error
    except ValueError as error:
        raise ParseError(f"The body is not valid JSON: {error}.") from error


def _text(stream: IO[bytes]) -> str:
    """DRF reads the stream itself, past Django's own look at the size."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise TooLarge
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8: {error}.") from error
