"""Serializer fields that are strict about types: 5 is not "5" and true is not 1, unless a form of HTML sent it.

What can be stored at all is checked once for the whole body, in strict_json; a form's text is checked here.
"""

from typing import Any

from django.http import QueryDict
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from memories.api import strict_json
from memories.api.limits import ID_LENGTH
from memories.api.openapi import IDENTIFIER, JSON_OBJECT, STORED_TEXT, TEXT
from memories.api.parsers import read


@extend_schema_field(TEXT)
class Text(serializers.CharField):
    """Numbers and booleans are not text."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(STORED_TEXT)
class Verbatim(Text):
    """Text kept to the letter; it may be empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, **options)


@extend_schema_field(IDENTIFIER)
class Identifier(Text):
    """A user's or project's id, kept to the letter: white space around it is refused, not cut off."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=ID_LENGTH, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text != text.strip():
            raise serializers.ValidationError("White space at the beginning or the end is not allowed.")
        return text


class Integer(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and not _from_form(self):
            self.fail("invalid")
        return super().to_internal_value(data)


class Number(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, str | bool) and not _from_form(self):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(JSON_OBJECT)
class JSONObject(serializers.JSONField):
    """A JSON object; a form of HTML sends its text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"initial": dict} | options))

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, str) and _from_form(self):
            data = _read(data or "{}")
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be a JSON object.")
        return data


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
