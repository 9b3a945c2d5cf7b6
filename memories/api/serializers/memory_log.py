"""Memories as a client sends them: to store, or to change."""

from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from memories.api import parsers
from memories.api.bodies import Body
from memories.api.fields import ExternalId, FutureMoment, Identifier, RawData, Text
from memories.api.limits import ID_LENGTH, TEXT_LENGTH
from memories.api.merge_patch import merge
from memories.api.serializers.memory_output import MemoryLogOutput
from memories.models import MemoryLog
from memories.records.services import NewMemory

# What a GET answers of a memory besides its input.
ANSWERED = frozenset(MemoryLogOutput.Meta.fields)
# What a memory keeps from its creation.
IDENTITY = ("user_id", "project_id", "external_id")
HINT = " Your own data belongs into raw_data."


class MemoryLogInput(Body[NewMemory]):
    """A memory to store."""

    answered = ANSWERED
    hint = HINT

    user_id = Identifier()
    project_id = Identifier()
    task = Text(max_length=TEXT_LENGTH)
    agent = Text(max_length=ID_LENGTH)
    date = serializers.DateField(required=False)
    raw_data = RawData(required=False)
    external_id = ExternalId(required=False, allow_null=True)
    expires_at = FutureMoment(required=False, allow_null=True)


class MemoryLogChange(Body[MemoryLog]):
    """Changes of a memory. `raw_data` is replaced as a whole."""

    answered = ANSWERED
    hint = HINT

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)
    task = Text(max_length=TEXT_LENGTH)
    agent = Text(max_length=ID_LENGTH)
    date = serializers.DateField(required=False)
    raw_data = RawData(required=False)
    external_id = ExternalId(required=False, allow_null=True)
    expires_at = FutureMoment(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the fields to change. Tenant and external id may be repeated, not changed."""
        moved = [name for name in IDENTITY if name in attrs and not self._has(name, attrs)]
        if moved:
            refusal = (
                "A memory keeps its tenant and external_id. Store it there as a new one and delete this one."
            )
            raise serializers.ValidationError(dict.fromkeys(moved, refusal))
        changes = {name: value for name, value in attrs.items() if name not in IDENTITY}
        return changes if self.partial else {"raw_data": {}, **changes}

    def _has(self, name: str, attrs: dict[str, Any]) -> bool:
        return bool(getattr(self.instance, name) == attrs[name])


def merged_changes(row: MemoryLog, patch: Any) -> dict[str, Any]:
    """The changes that a merge patch makes to the memory: raw_data is merged, other fields are replaced.

    The merged raw_data has the limits of any other. Raises ValidationError, Invalid.
    """
    body = patch
    if isinstance(patch, dict) and "raw_data" in patch:
        body = patch | {"raw_data": _without_null(merge(row.raw_data, patch["raw_data"]))}
        parsers.require_storable(body)
    return validated_changes(row, data=body, partial=True)


def validated_changes(row: MemoryLog, *, data: Any, partial: bool) -> dict[str, Any]:
    """The changes of the memory that a body describes; all fields of it unless `partial`. Raises ValidationError."""
    change = MemoryLogChange(row, data=data, partial=partial)
    change.is_valid(raise_exception=True)
    return dict(change.validated_data)


def _without_null(raw_data: Any) -> Any:
    return {} if raw_data is None else raw_data


# Shared by all requests: making a serializer takes ten times as long as its validation, which keeps no state.
_INPUT = MemoryLogInput()


def validate(body: Any) -> dict[str, Any]:
    """The fields of a memory to store. Raises ValidationError."""
    if body is None or isinstance(
        body, QueryDict
    ):  # fields of an HTML form look at the serializer's own data
        serializer = MemoryLogInput(data=body)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)
    fields: dict[str, Any] = _INPUT.run_validation(body)
    return fields
