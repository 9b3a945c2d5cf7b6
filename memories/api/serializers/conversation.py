"""Turns as a client sends them, and conversations as the API returns them."""

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from memories.api.fields import Identifier, Text, Verbatim
from memories.api.limits import ID_LENGTH, TURN_LENGTH, TURNS
from memories.conversations.turns import SERVICE_FIELDS, Turn
from memories.models.conversation import Conversation, ConversationGap


class TurnInput(serializers.Serializer[Turn]):
    """Who said what. All other fields of a turn are kept with it unchanged."""

    role = Text(max_length=ID_LENGTH)
    content = Verbatim(max_length=TURN_LENGTH)

    def to_internal_value(self, data: Any) -> Turn:
        known = super().to_internal_value(data)
        if reserved := sorted(SERVICE_FIELDS & set(data)):
            refused = "The service sets this field of each turn; use another name."
            raise serializers.ValidationError({name: [refused] for name in reserved})
        return {**known, **{key: value for key, value in data.items() if key not in known}}


class PostInput(serializers.Serializer[Any]):
    """One turn, with its fields next to the tenant; or several turns, in order, as `turns`."""

    user_id = Identifier()
    project_id = Identifier()
    role = Text(required=False, max_length=ID_LENGTH)
    content = Verbatim(required=False, max_length=TURN_LENGTH)
    turns = serializers.ListField(child=TurnInput(), required=False, allow_empty=False, max_length=TURNS)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """{"user_id", "project_id", "turns": [...]}, also if one turn was sent."""
        if isinstance(data, QueryDict):  # leaves out the CSRF token of a form
            data = {name: data[name] for name in ("user_id", "project_id", "role", "content") if name in data}
        if not isinstance(data, Mapping) or "turns" in data:
            body = super().to_internal_value(data)
            if misplaced := sorted(set(data) - {"user_id", "project_id", "turns"}):
                raise serializers.ValidationError(
                    {name: ["Put this field into one of the turns."] for name in misplaced}
                )
            return dict(body)
        tenant = {name: value for name, value in data.items() if name in TenantInput().fields}
        turn = {name: value for name, value in data.items() if name not in tenant}
        valid, errors = _validated(TenantInput(data=tenant), TurnInput(data=turn))
        if errors:
            raise serializers.ValidationError(errors)
        return {**valid[0], "turns": [valid[1]]}


class TenantInput(serializers.Serializer[Any]):
    user_id = Identifier()
    project_id = Identifier()


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
    content = serializers.CharField()
    at = serializers.DateTimeField()


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
    turns = TurnOutput(many=True)
    gaps = Gap(many=True)
    complete = serializers.BooleanField(help_text="false if Redis may hold more turns and does not answer")

    class Meta(ConversationClosed.Meta):
        fields = (*ConversationClosed.Meta.fields, "turns", "gaps", "complete")  # type: ignore[assignment]
