"""Serializer fields that are strict about types: 5 is not "5" and true is not 1, unless an HTML form sent it.

strict_json checks once for the whole body what PostgreSQL can store; JSON text in an HTML form is checked here.
"""

from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from memories.api import strict_json
from memories.api.limits import ID_LENGTH
from memories.api.openapi import IDENTIFIER, JSON_OBJECT, STORED_TEXT, TEXT
from memories.api.parsers import read
from memories.records.size import count_values, json_bytes


@extend_schema_field(TEXT)
class Text(serializers.CharField):
    """Text. A number or boolean is refused."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(STORED_TEXT)
class Verbatim(Text):
    """Text that is kept unchanged and may be empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, **options)


@extend_schema_field(IDENTIFIER)
class Identifier(Text):
    """An id of a user, a project or a conversation. White space at its ends is refused, not removed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=ID_LENGTH, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text != text.strip():
            raise serializers.ValidationError("White space at the beginning or end is not allowed.")
        return text


class ExternalId(Identifier):
    """The client's own id of a memory, unique within the tenant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(help_text="your own id of the memory, unique within the project", **options)


class Integer(serializers.IntegerField):
    """An integer. Text is refused."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and not _from_form(self):
            self.fail("invalid")
        return super().to_internal_value(data)


class Number(serializers.FloatField):
    """A number. Text and booleans are refused."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, str | bool) and not _from_form(self):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(JSON_OBJECT)
class JSONObject(serializers.JSONField):
    """A JSON object. An HTML form sends it as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"initial": dict} | options))

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, str) and _from_form(self):
            data = _read(data or "{}")
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be a JSON object.")
        return data


class FutureMoment(serializers.DateTimeField):
    """A time in ISO 8601 that lies ahead; without an offset it is UTC. null: never."""

    def to_internal_value(self, value: Any) -> Any:
        moment = super().to_internal_value(value)
        if moment <= timezone.now():
            raise serializers.ValidationError("Is in the past. DELETE the memory instead.")
        return moment


class RawData(JSONObject):
    """The raw_data of a memory, within MEMORY_MAX_VALUES and MEMORY_MAX_BYTES."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        found = super().to_internal_value(data)
        if (values := count_values(found)) > settings.MEMORY_MAX_VALUES:
            raise serializers.ValidationError(
                f"A memory may have {settings.MEMORY_MAX_VALUES:,} values (MEMORY_MAX_VALUES). This one has "
                f"{values:,}. Store less of it, or divide it into several memories."
            )
        if (size := json_bytes(found)) > settings.MEMORY_MAX_BYTES:
            raise serializers.ValidationError(
                f"A memory may have {settings.MEMORY_MAX_BYTES:,} bytes (MEMORY_MAX_BYTES). This one has "
                f"{size:,}. Store less of it, or divide it into several memories."
            )
        return found


def _from_form(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    return isinstance(getattr(field.root, "initial_data", None), QueryDict)


def _read(text: str) -> Any:
    try:
        found = read(text)
    except ParseError as error:
        raise serializers.ValidationError(error.detail) from error
    if refusal := next(strict_json.refusals(found), None):
        raise serializers.ValidationError(f"{refusal.pointer or '/'}: {refusal.detail}")
    return found
