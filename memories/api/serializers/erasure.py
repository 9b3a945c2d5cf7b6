"""What to forget, and the receipt of it."""

from typing import Any

from rest_framework import serializers

from memories.api.bodies import Body
from memories.api.fields import Identifier, Integer
from memories.api.limits import ERASED_AT_ONCE
from memories.models import Erasure

# What an erasure cannot reach, and what removes it. Told with every receipt.
REMAINS = [
    (
        "Where only named memories or conversations were erased, keys of raw_data stay in the schema of the Chroma "
        "collection until `manage.py rebuild_index --recreate`."
    ),
    (
        "Freed pages of Chroma's database, and unused room of its vector files, keep deleted text until "
        "`manage.py vacuum_index` or the next start of `up`."
    ),
    (
        "PostgreSQL's freed pages and write-ahead log keep deleted rows until a vacuum and a checkpoint reuse them, "
        "and its statistics keep tags until an ANALYZE. Redis's append-only file keeps turns until BGREWRITEAOF."
    ),
    (
        "Backups keep what they held. `restore` requests younger erasures again if it replaces the database of their "
        "receipts. After a restore into a new server, request them again."
    ),
]


class ErasureInput(Body[Any]):
    """What to forget."""

    user_id = Identifier()
    project_id = Identifier(required=False, help_text="without it: all projects of the user")
    memory_log_ids = serializers.ListField(
        child=Integer(min_value=1, max_value=2**63 - 1),
        required=False,
        max_length=ERASED_AT_ONCE,
        help_text="only these memories, with their versions",
    )
    conversation_ids = serializers.ListField(
        child=Identifier(),
        required=False,
        max_length=ERASED_AT_ONCE,
        help_text="only these conversations: buffered turns and saved memories",
    )
    api_keys = serializers.BooleanField(
        default=False, help_text="the API keys of the user (or project) as well, this one included"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """An empty list is refused: it would erase everything."""
        for name in ("memory_log_ids", "conversation_ids"):
            if name in attrs and not attrs[name]:
                raise serializers.ValidationError({name: "Is empty. Leave it out to erase everything."})
        if attrs["api_keys"] and ("memory_log_ids" in attrs or "conversation_ids" in attrs):
            raise serializers.ValidationError(
                {"api_keys": "API keys are erased only with everything of a user or project."}
            )
        return attrs


class ErasureReceipt(serializers.ModelSerializer[Erasure]):
    """Names ids and no words."""

    project_id = serializers.SerializerMethodField()
    remains = serializers.SerializerMethodField()
    waits_for = serializers.SerializerMethodField()

    class Meta:
        model = Erasure
        fields = (
            "id",
            "status",
            "verified",
            "user_id",
            "project_id",
            "memory_log_ids",
            "conversation_ids",
            "api_keys",
            "counts",
            "found",
            "waits_for",
            "remains",
            "requested_at",
            "began_at",
            "finished_at",
        )

    def get_project_id(self, erasure: Erasure) -> str | None:
        """null: all projects of the user."""
        return erasure.project_id or None

    def get_waits_for(self, erasure: Erasure) -> str | None:
        """The dependency that is away, and why; null while nothing is."""
        return erasure.waits_for or None

    def get_remains(self, erasure: Erasure) -> list[str]:
        """What is out of reach, and what removes it."""
        return REMAINS
