"""Turns as a client sends them, and conversations as the API returns them."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import QueryDict
from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from memories.api.bodies import Body
from memories.api.fields import Identifier, Integer, Text
from memories.api.limits import ID_LENGTH, TEXT_LENGTH, TURN_LENGTH, TURNS
from memories.api.openapi import JSON_OBJECT, STORED_TEXT, TEXT
from memories.conversations.turns import SERVICE_FIELDS, Turn
from memories.models.conversation import Conversation, ConversationGap
from memories.records.size import count_values, json_bytes

CONTENT: dict[str, Any] = {
    "description": "What was said, in any shape that chats use: text, a list of parts, an object or null.",
    "anyOf": [
        STORED_TEXT | {"maxLength": TURN_LENGTH},
        {"type": "array", "items": {"$ref": "#/components/schemas/JSONValue"}},
        JSON_OBJECT,
        {"type": "null"},
    ],
}


@extend_schema_field(TEXT | {"maxLength": ID_LENGTH})
class Role(Text):
    """Who said it, kept unchanged."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=ID_LENGTH, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        role = super().to_internal_value(data)
        if not role.strip():
            self.fail("blank")
        return role


@extend_schema_field(CONTENT)
class Content(serializers.Field[Any, Any, Any, Any]):
    """What was said, kept unchanged: text, a list of parts, an object or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, **options)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str | list | dict):
            raise serializers.ValidationError("Must be text, a list of parts, an object or null.")
        if isinstance(data, str) and len(data) > TURN_LENGTH:
            raise serializers.ValidationError(
                f"Text may have {TURN_LENGTH:,} characters; this has {len(data):,}."
            )
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class TurnInput(serializers.Serializer[Turn]):
    """Who said what. A turn is stored as it was sent, with all its fields.

    It may have half the values and half the bytes of a memory: turns are saved in memories.
    """

    role = Role()
    content = Content()

    def to_internal_value(self, data: Any) -> Turn:
        super().to_internal_value(data)
        if reserved := sorted(SERVICE_FIELDS & set(data)):
            refused = "The service sets this field of each turn; use another name."
            raise serializers.ValidationError({name: [refused] for name in reserved})
        turn = dict(data)
        for size, limit, unit in (
            (count_values(turn), settings.MEMORY_MAX_VALUES // 2, "values (half of MEMORY_MAX_VALUES)"),
            (json_bytes(turn), settings.MEMORY_MAX_BYTES // 2, "bytes (half of MEMORY_MAX_BYTES)"),
        ):
            if size > limit:
                refused = f"A turn may have {limit:,} {unit}. This one has {size:,}."
                raise serializers.ValidationError({"non_field_errors": [refused]})
        return turn


class TenantInput(Body[Any]):
    """The tenant of a conversation."""

    user_id = Identifier()
    project_id = Identifier()


class TurnsInput(TenantInput):
    """Several turns, in order."""

    hint = " Fields of a turn go into `turns`."

    turns = serializers.ListField(child=TurnInput(), allow_empty=False, max_length=TURNS)


class PostInput(serializers.Serializer[Any]):
    """One turn, with its fields next to the tenant; or several turns, in order, as `turns`."""

    user_id = Identifier()
    project_id = Identifier()
    role = Role(required=False)
    content = Content()
    turns = serializers.ListField(child=TurnInput(), required=False, allow_empty=False, max_length=TURNS)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """{"user_id", "project_id", "turns": [...]}, also if one turn was sent."""
        if isinstance(data, QueryDict):  # leaves out the CSRF token of a form
            data = {name: data[name] for name in ("user_id", "project_id", "role", "content") if name in data}
        if not isinstance(data, Mapping) or "turns" in data:
            return dict(TurnsInput().run_validation(data))
        tenant = {name: value for name, value in data.items() if name in TenantInput().fields}
        turn = {name: value for name, value in data.items() if name not in tenant}
        valid, errors = _validated(TenantInput(data=tenant), TurnInput(data=turn))
        if errors:
            raise serializers.ValidationError(errors)
        return {**valid[0], "turns": [valid[1]]}


def _validated(*serializers_: serializers.Serializer[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The validated data of each serializer, and the errors of all."""
    errors: dict[str, Any] = {}
    for one in serializers_:
        if not one.is_valid():
            errors |= dict(one.errors)
    return [] if errors else [one.validated_data for one in serializers_], errors


class Gap(serializers.ModelSerializer[ConversationGap]):
    """The buffer lost turns between these two turns."""

    class Meta:
        model = ConversationGap
        fields = ("after_turn", "before_turn", "at_least", "reason", "noticed_at")


class ConversationOutput(serializers.ModelSerializer[Conversation]):
    """A conversation in numbers. `buffered` is null if Redis does not answer."""

    state = serializers.SerializerMethodField(help_text="buffered (turns wait), saved, or closed")
    turn_count = serializers.SerializerMethodField(help_text="saved and waiting turns")
    saved = serializers.IntegerField(source="saved_turns")
    buffered = serializers.SerializerMethodField(help_text="turns that wait to be saved")

    class Meta:
        model = Conversation
        fields = (
            "conversation_id",
            "user_id",
            "project_id",
            "state",
            "turn_count",
            "saved",
            "buffered",
            "created_at",
            "closed_at",
        )

    def get_buffered(self, row: Conversation) -> int | None:
        counts: Mapping[int, int | None] = self.context["waiting"]
        return counts[row.id]

    def get_turn_count(self, row: Conversation) -> int:
        return row.saved_turns + (self.get_buffered(row) or 0)

    def get_state(self, row: Conversation) -> str:
        if self.get_buffered(row) != 0:
            return "buffered"
        return "closed" if row.closed_at else "saved"


class TurnOutput(serializers.Serializer[Turn]):
    """A turn as it was sent, with its number and time."""

    seq = serializers.IntegerField()
    role = serializers.CharField()
    content = Content()
    at = serializers.DateTimeField()


class TurnSearchInput(TenantInput):
    """A search in the turns that wait to be saved."""

    query = Text(max_length=TEXT_LENGTH)
    limit = Integer(default=10, min_value=1, max_value=100)


class TurnSearchResult(serializers.Serializer[Any]):
    conversation_id = serializers.CharField()
    turn = TurnOutput()
    text = serializers.CharField(help_text="the words of the turn: who said what")
    score = serializers.FloatField(help_text="above 0; comparable only within one answer")


class TurnSearchAnswer(serializers.Serializer[Any]):
    """The waiting turns that share words with the query, best first."""

    results = TurnSearchResult(many=True)
    complete = serializers.BooleanField(help_text="false if Redis may hold more turns and does not answer")


class TurnsAppended(serializers.Serializer[Any]):
    """The numbers of the turns, and the buffer that holds them until the conversation is saved."""

    conversation_id = serializers.CharField()
    turns = inline_serializer("TurnNumber", {"seq": serializers.IntegerField()}, many=True)
    buffer = serializers.CharField(help_text="redis or postgres")
    degraded = serializers.BooleanField(help_text="Redis is away, and PostgreSQL holds the turns")


class ConversationClosed(ConversationOutput):
    memory_ids = serializers.ListField(child=serializers.IntegerField())

    class Meta(ConversationOutput.Meta):
        fields = (*ConversationOutput.Meta.fields, "memory_ids")  # type: ignore[assignment]


class ConversationTranscript(ConversationClosed):
    """A page of turns; `memory_ids` are the memories that hold the saved turns of the page."""

    next = serializers.URLField(allow_null=True, help_text="the page after this one")
    turns = TurnOutput(many=True)
    gaps = Gap(many=True)
    complete = serializers.BooleanField(help_text="false if Redis may hold more turns and does not answer")

    class Meta(ConversationClosed.Meta):
        fields = (*ConversationClosed.Meta.fields, "next", "turns", "gaps", "complete")  # type: ignore[assignment]
