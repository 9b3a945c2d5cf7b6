"""Request bodies with a fixed set of fields: an unknown field is refused, because ignoring it would lose data."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar, TypeVar

from django.http import QueryDict
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.utils.serializer_helpers import BindingDict

Row = TypeVar("Row")

# How many unknown fields one error lists. Finding a similar name takes time.
MOST_UNKNOWN = 5
# A longer name is not compared with the known ones.
LONGEST_COMPARED = 40
# The fields that an HTML form adds.
FORM_FIELDS = frozenset({"csrfmiddlewaretoken"})


class Body(serializers.Serializer[Row]):
    """A serializer that refuses fields which it does not declare.

    `answered` are fields that a GET answers and a body does not need. They are ignored, so that an answer can be
    changed and sent back. `hint` is added to the error of an unknown field.
    """

    answered: ClassVar[Collection[str]] = ()
    hint: ClassVar[str] = ""

    @cached_property
    def fields(self) -> BindingDict:
        """The fields by name. Bodies of JSON share them: to copy them takes longer than to validate a body."""
        data = getattr(self, "initial_data", None)
        is_plain = isinstance(data, Mapping) and not isinstance(data, QueryDict)
        return _shared_fields(type(self)) if is_plain and not self.partial else super().fields

    def to_internal_value(self, data: Any) -> Any:
        unknown = self._unknown(data) if isinstance(data, Mapping) else {}
        try:
            fields = super().to_internal_value(data)
        except ValidationError as error:
            raise _joined(error, unknown) from error
        if unknown:
            raise ValidationError(unknown)
        return fields

    def _unknown(self, data: Mapping[str, Any]) -> dict[str, list[str]]:
        ignored = {*self.answered, *(FORM_FIELDS if isinstance(data, QueryDict) else ())}
        names = (name for name in data if name not in self.fields and name not in ignored)
        return unknown_names(names, self.fields, "field", self.hint)


@cache
def _shared_fields(body: type[Body[Any]]) -> BindingDict:
    """The fields of one body that is not a form. Their root is that body, whichever is validated."""
    copied: BindingDict = super(Body, body(data={})).fields
    return copied


def unknown_names(
    names: Iterable[str], known: Iterable[str], kind: str, hint: str = ""
) -> dict[str, list[str]]:
    """An error for each of these names, which are not `known`. `kind` is field or parameter.

    Each error suggests a similar name, or lists the known ones.
    """
    allowed = sorted(known)
    first = sorted(names)[:MOST_UNKNOWN]
    return {name: [f"Unknown {kind}. {_suggestion(name, allowed)}{hint}"] for name in first}


def _suggestion(name: str, allowed: list[str]) -> str:
    if len(name) <= LONGEST_COMPARED and (similar := get_close_matches(name, allowed, n=1)):
        return f"Did you mean {similar[0]}?"
    return f"There are: {', '.join(allowed)}." if allowed else "There are none."


def _joined(error: ValidationError, unknown: dict[str, list[str]]) -> ValidationError:
    detail: Any = error.detail
    if not isinstance(detail, dict):
        return error
    return ValidationError({**detail, **{name: [ErrorDetail(texts[0])] for name, texts in unknown.items()}})
