"""A memory, as a client gives it and as it is answered."""

from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from memories.api.fields import Identifier, JSONObject, Text
from memories.api.limits import ID_LENGTH, TEXT_LENGTH
from memories.api.serializers.plain import plain_memory
from memories.models import MemoryLog, MemoryVersion
from memories.records.services import NewMemory
from memories.records.sync_status import SyncStatus


class MemoryLogInput(serializers.Serializer[NewMemory]):
    """A memory to store."""

    user_id = Identifier()
    project_id = Identifier()
    task = Text(max_length=TEXT_LENGTH)
    agent = Text(max_length=ID_LENGTH)
    date = serializers.DateField(required=False)
    raw_data = JSONObject(required=False)


class MemoryLogChange(serializers.Serializer[MemoryLog]):
    """What is to be changed of a memory. `raw_data` is replaced as a whole."""

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)
    task = Text(max_length=TEXT_LENGTH)
    agent = Text(max_length=ID_LENGTH)
    date = serializers.DateField(required=False)
    raw_data = JSONObject(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The fields to change. Whose the memory is may be said again, not changed."""
        moved = [name for name in ("user_id", "project_id") if name in attrs and not self._has(name, attrs)]
        if moved:
            stays = "A memory stays where it is: store it there as a new one, and delete this one."
            raise serializers.ValidationError(dict.fromkeys(moved, stays))
        changes = {name: value for name, value in attrs.items() if name not in ("user_id", "project_id")}
        return changes if self.partial else {"raw_data": {}, **changes}

    def _has(self, name: str, attrs: dict[str, Any]) -> bool:
        return bool(getattr(self.instance, name) == attrs[name])


class Sync(serializers.Serializer[MemoryLog]):
    """How far a memory has come on its way to the index. The defaults are those of one just stored."""

    status = serializers.ChoiceField(
        choices=SyncStatus.choices, source="sync_status", default=SyncStatus.PENDING
    )
    version = serializers.IntegerField(help_text="the version there is")
    indexed_version = serializers.IntegerField(allow_null=True, help_text="the version that search finds")
    embedded_at = serializers.DateTimeField(allow_null=True)
    indexed_at = serializers.DateTimeField(allow_null=True)
    error = serializers.CharField(
        allow_null=True, source="sync_error", default=None, help_text="what went wrong last"
    )


class MemoryLogOutput(serializers.ModelSerializer[MemoryLog]):
    """A memory as it is. `embedding` is null unless it was asked for and is there."""

    embedding = serializers.SerializerMethodField()
    sync = Sync(source="*", allow_null=True, help_text="null with as_of: it is not kept")

    class Meta:
        model = MemoryLog
        fields = (
            "id",
            "task",
            "agent",
            "date",
            "user_id",
            "project_id",
            "raw_data",
            "created_at",
            "updated_at",
            "version",
            "embedding",
            "sync",
        )

    def get_embedding(self, row: MemoryLog) -> list[float] | None:
        wanted = "embedding" in self.context.get("include", ())
        return row.embedding if wanted else None


# Making a serializer takes longer than using it, and this one keeps nothing of what it is given.
_INPUT = MemoryLogInput()


def validate(given: Any) -> dict[str, Any]:
    """The fields of a memory to store. Raises ValidationError."""
    if plain := plain_memory(given):
        return plain
    if given is None or isinstance(given, QueryDict):  # the fields of a form look at the serializer's data
        own = MemoryLogInput(data=given)
        own.is_valid(raise_exception=True)
        return dict(own.validated_data)
    fields: dict[str, Any] = _INPUT.run_validation(given)
    return fields


class BatchOutput(serializers.Serializer[Any]):
    """What was stored, in the order in which it came."""

    created = serializers.IntegerField()
    ids = serializers.ListField(child=serializers.IntegerField())


class MemoryState(serializers.ModelSerializer[MemoryVersion]):
    """A memory as it was. How far it had come on its way to the index is not kept."""

    id = serializers.IntegerField(source="pgh_obj_id")
    embedding = serializers.ReadOnlyField(default=None)
    sync = serializers.ReadOnlyField(default=None)

    class Meta:
        model = MemoryVersion
        fields = MemoryLogOutput.Meta.fields


class Version(serializers.ModelSerializer[MemoryVersion]):
    """A state that a memory had: what made it, and when."""

    id = serializers.IntegerField(source="pgh_obj_id")
    change = serializers.ChoiceField(choices=["created", "updated", "deleted"], source="pgh_label")
    changed_at = serializers.DateTimeField(source="pgh_created_at")

    class Meta:
        model = MemoryVersion
        fields = (
            "version",
            "change",
            "changed_at",
            "id",
            "task",
            "agent",
            "date",
            "user_id",
            "project_id",
            "raw_data",
            "created_at",
            "updated_at",
        )
