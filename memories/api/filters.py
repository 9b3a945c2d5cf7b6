"""Filters as a client sends them: the language as JSON, and the short forms."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.http import QueryDict
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from memories.api import strict_json
from memories.api.fields import JSONObject
from memories.api.filter_schema import EXAMPLE, ITSELF
from memories.api.json_text import TextOfJSON
from memories.api.parsers import read
from memories.filters import MAX_CONDITIONS, Filters, InvalidFilter, Node, parse

HELP = "conditions with `and`, `or`, `not` and operators"


@extend_schema_field(ITSELF)
class FilterField(JSONObject):
    """A filter in a body."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, initial=TextOfJSON(""), help_text=HELP, **options)

    def to_internal_value(self, data: Any) -> Any:
        if data == "" and isinstance(self.root.initial_data, QueryDict):
            raise serializers.SkipField  # the field of an HTML form was left empty
        return _parsed(super().to_internal_value(data))


@extend_schema_field({"type": "string", "examples": [json.dumps(EXAMPLE)]})
class FilterParameter(serializers.CharField):
    """A filter in a query: JSON as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, help_text=f"{HELP}, as JSON", **options)

    def to_internal_value(self, data: Any) -> Any:
        try:
            found = read(super().to_internal_value(data))
        except ParseError:
            raise serializers.ValidationError("Must be JSON.") from None
        if refusal := next(strict_json.refusals(found), None):
            raise serializers.ValidationError(f"{refusal.pointer or '/'}: {refusal.detail}")
        return _parsed(found)


def filters_of(given: Mapping[str, Any]) -> Filters:
    """The filters among validated fields. Raises ValidationError when they are too many."""
    names = [field.name for field in fields(Filters) if field.name in given]
    found = Filters(**{name: given[name] for name in names} | {"tags": tuple(given.get("tags", ()))})
    if (number := len(found)) > MAX_CONDITIONS:
        longest = max(("raw_data", "tags"), key=lambda name: len(given.get(name, ())))
        refusal = f"A search has at most {MAX_CONDITIONS} conditions, and this one has {number}. Use fewer."
        raise serializers.ValidationError({longest: refusal})
    return found


def _parsed(data: Any) -> Node:
    try:
        return parse(data)
    except InvalidFilter as error:
        raise serializers.ValidationError(error.refusals) from None
