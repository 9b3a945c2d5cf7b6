"""Turns as a client gives them, and a conversation as it is answered."""

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from memories.api.fields import Identifier, Text, Verbatim
from memories.api.limits import ID_LENGTH, TURN_LENGTH, TURNS
from memories.conversations.turns import GIVEN_BY_US, Turn
from memories.models.conversation import Conversation, ConversationGap


class TurnInput(serializers.Serializer[Turn]):
    """Who said what. Whatever else is given is kept with it, as it is."""

    role = Text(max_length=ID_LENGTH)
    content = Verbatim(max_length=TURN_LENGTH)

    def to_internal_value(self, data: Any) -> Turn:
        said = super().to_internal_value(data)
        if given := sorted(GIVEN_BY_US & set(data)):
            refused = "The service gives this to each turn; call yours something else."
            raise serializers.ValidationError({name: [refused] for name in given})
        return {**said, **{key: value for key, value in data.items() if key not in said}}


class PostInput(serializers.Serializer[Any]):
    """One turn, its role and content beside the tenant; or many, in order, as `turns`."""

    user_id = Identifier()
    project_id = Identifier()
    role = Text(required=False, max_length=ID_LENGTH)
    content = Verbatim(required=False, max_length=TURN_LENGTH)
    turns = serializers.ListField(child=TurnInput(), required=False, allow_empty=False, max_length=TURNS)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """{"user_id", "project_id", "turns": [...]}, also of a single one."""
        if isinstance(data, QueryDict):  # of a form only its fields, not its token
            data = {name: data[name] for name in ("user_id", "project_id", "role", "content") if name in data}
        if not isinstance(data, Mapping) or "turns" in data:
            given = super().to_internal_value(data)
            if beside := sorted(set(data) - {"user_id", "project_id", "turns"}):
                raise serializers.ValidationError(
                    {name: ["Belongs into one of the turns."] for name in beside}
                )
            return dict(given)
        tenant = {name: value for name, value in data.items() if name in TenantInput().fields}
        said = {name: value for name, value in data.items() if name not in tenant}
        checked, errors = _checked(TenantInput(data=tenant), TurnInput(data=said))
        if errors:
            raise serializers.ValidationError(errors)
        return {**checked[0], "turns": [checked[1]]}


class TenantInput(serializers.Serializer[Any]):
    user_id = Identifier()
    project_id = Identifier()


def _checked(*parts: serializers.Serializer[Any]) -> tuple[list[Any], dict[str, Any]]:
    """What each takes of one body, and all that is wrong with it."""
    errors: dict[str, Any] = {}
    for part in parts:
        if not part.is_valid():
            errors |= dict(part.errors)
    return [] if errors else [part.validated_data for part in parts], errors


class Gap(serializers.ModelSerializer[ConversationGap]):
    """Between these two turns some are missing: the buffer lost them, and it was noticed then."""

    class Meta:
        model = ConversationGap
        fields = ("after_turn", "before_turn", "at_least", "reason", "noticed_at")


class ConversationOutput(serializers.ModelSerializer[Conversation]):
    """A conversation in numbers. `buffered` is null where Redis does not answer."""

    state = serializers.SerializerMethodField(help_text="buffered (turns wait), saved, or closed")
    turn_count = serializers.SerializerMethodField(help_text="of all of them, saved and waiting")
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
    """A turn as it was given, with its number and time."""

    seq = serializers.IntegerField()
    role = serializers.CharField()
    content = serializers.CharField()
    at = serializers.DateTimeField()


class TurnsTaken(serializers.Serializer[Any]):
    """Where the turns wait until the conversation is saved."""

    conversation_id = serializers.CharField()
    turns = inline_serializer("TurnNumber", {"seq": serializers.IntegerField()}, many=True)
    buffer = serializers.CharField(help_text="redis or postgres")
    degraded = serializers.BooleanField(help_text="Redis is away, PostgreSQL took them")


class ConversationClosed(ConversationOutput):
    memory_ids = serializers.ListField(child=serializers.IntegerField())

    class Meta(ConversationOutput.Meta):
        fields = (*ConversationOutput.Meta.fields, "memory_ids")  # type: ignore[assignment]


class ConversationTranscript(ConversationClosed):
    turns = TurnOutput(many=True)
    gaps = Gap(many=True)
    complete = serializers.BooleanField(help_text="false where Redis may hold more and does not answer")

    class Meta(ConversationClosed.Meta):
        fields = (*ConversationClosed.Meta.fields, "turns", "gaps", "complete")  # type: ignore[assignment]
