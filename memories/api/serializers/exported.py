"""A line of an export: a memory as the API answers it, with its versions if they were exported."""

from typing import Any

from rest_framework import serializers

from memories.api import parsers
from memories.api.bodies import Body
from memories.api.fields import ExternalId, Identifier, Integer, JSONObject, Number, Text
from memories.api.limits import ID_LENGTH, ITEMS, TEXT_LENGTH
from memories.api.serializers.memory_log import validate
from memories.records.load import Line, Origin

# The highest values of the columns.
MAX_ID, MAX_VERSION = 2**63 - 1, 2**31 - 1
# Fields of a line that a memory to store does not have.
ONLY_EXPORTED = ("versions", "embedding_model")


class ExportedVersion(Body[Any]):
    """A version of an exported memory."""

    change = serializers.ChoiceField(choices=["created", "updated", "deleted"])
    changed_at = serializers.DateTimeField()
    id = Integer(required=False)
    task = Text(max_length=TEXT_LENGTH)
    agent = Text(max_length=ID_LENGTH)
    date = serializers.DateField()
    user_id = Identifier()
    project_id = Identifier()
    raw_data = JSONObject()
    external_id = ExternalId(required=False, allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    version = Integer(min_value=1, max_value=MAX_VERSION)


class ExportedOrigin(serializers.Serializer[Any]):
    """What an export tells of a memory besides its content. Every field may be missing."""

    id = Integer(required=False, min_value=1, max_value=MAX_ID)
    version = Integer(required=False, min_value=1, max_value=MAX_VERSION)
    created_at = serializers.DateTimeField(required=False)
    updated_at = serializers.DateTimeField(required=False)
    embedding = serializers.ListField(child=Number(), required=False, allow_null=True, max_length=ITEMS)
    embedding_model = Text(required=False, allow_blank=True)


def parse_line(line: bytes) -> Line | None:
    """A line of a file as POST /memory-logs or an export has it; None for a conversation. Raises APIException.

    Each version has the limits of a body of its own.
    """
    body = parsers.read_body(line)
    versions = body.pop("versions", []) if isinstance(body, dict) else []
    parsers.require_storable(body)
    if isinstance(body, dict) and body.keys() == {"conversation"}:
        return None
    given = {name: value for name, value in body.items() if name not in ONLY_EXPORTED} if body else body
    fields = validate(given)
    origin = ExportedOrigin(data=body)
    origin.is_valid(raise_exception=True)
    return Line(fields=fields, origin=Origin(**origin.validated_data, versions=_versions(versions)))


def _versions(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise serializers.ValidationError({"versions": "Must be a list."})
    return [_version(index, version) for index, version in enumerate(given)]


def _version(index: int, given: Any) -> dict[str, Any]:
    parsers.require_storable(given)
    version = ExportedVersion(data=given)
    if not version.is_valid():
        raise serializers.ValidationError({"versions": {str(index): version.errors}})
    return dict(version.validated_data)
