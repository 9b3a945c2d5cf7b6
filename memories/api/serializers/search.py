"""Search requests and their results."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from memories.api.bodies import Body
from memories.api.fields import Identifier, Integer, JSONObject, Number, Text
from memories.api.filters import FilterField, filters_of
from memories.api.limits import ID_LENGTH, TEXT_LENGTH
from memories.api.openapi import NUMBERS, STORED_TEXT
from memories.filters import MAX_CONDITIONS
from memories.index.metadata import MAX_STRING, is_filterable
from memories.search.search import Mode, Query
from memories.tenants import Tenant

# What a result has besides, if it is asked for.
INCLUDED = ["memory", "raw_data", "created_at", "explain"]
INCLUDED_HELP = (
    "what each result has besides: `memory` (as GET /memory-logs/{id} answers it), `raw_data`, `created_at`, `explain` "
    "(its places by words and by meaning, and what neighbours added)"
)


@extend_schema_field(
    {
        "type": "object",
        "propertyNames": STORED_TEXT,
        "maxProperties": MAX_CONDITIONS,
        "additionalProperties": {
            "anyOf": [*NUMBERS, STORED_TEXT | {"maxLength": MAX_STRING}, {"type": "boolean"}]
        },
    }
)
class Values(JSONObject):
    """Filters by values of `raw_data`: each key must have this value."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        values = super().to_internal_value(data)
        wrong = [name for name, value in values.items() if not is_filterable(value)]
        if wrong:
            refusal = f"Must be a string of at most {MAX_STRING} characters, a number, true or false."
            raise serializers.ValidationError(dict.fromkeys(wrong, refusal))
        return values


class SearchInput(Body[Query]):
    """A search."""

    query = Text(max_length=TEXT_LENGTH)
    user_id = Identifier()
    project_id = Identifier(required=False, help_text="without it, all projects of the user are searched")
    limit = Integer(default=10, min_value=1, max_value=100)
    min_similarity = Number(default=0.0, min_value=0.0, max_value=1.0)
    mode = serializers.ChoiceField(
        choices=Mode.choices,
        default=Mode.HYBRID,
        initial=Mode.HYBRID,
        help_text="vector: by meaning; lexical: by words; hybrid: by both",
    )
    task = Text(required=False, max_length=TEXT_LENGTH, help_text="exactly this task")
    agent = Text(required=False, max_length=ID_LENGTH)
    date_from = serializers.DateField(required=False, help_text="this date or later")
    date_to = serializers.DateField(required=False, help_text="this date or earlier")
    tags = serializers.ListField(
        child=Text(),
        required=False,
        max_length=MAX_CONDITIONS,
        help_text="all of these in `raw_data.tags`",
    )
    raw_data = Values(required=False, help_text="the values that these keys of `raw_data` must have")
    filter = FilterField()
    include = serializers.ListField(
        child=serializers.ChoiceField(choices=INCLUDED), required=False, help_text=INCLUDED_HELP
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["mode"] == Mode.LEXICAL and attrs["min_similarity"]:
            raise serializers.ValidationError(
                {"min_similarity": "The lexical mode has no similarity. Leave it out or use another mode."}
            )
        filters_of(attrs)
        return attrs

    @property
    def included(self) -> list[str]:
        """What each result has besides. Read it after `is_valid()`."""
        return list(self.validated_data.get("include", ()))

    def to_query(self) -> Query:
        """The search as the domain takes it. Call it after `is_valid()`."""
        given = self.validated_data
        return Query(
            text=given["query"],
            tenant=Tenant(given["user_id"], given.get("project_id", "")),
            limit=given["limit"],
            min_similarity=given["min_similarity"],
            mode=Mode(given["mode"]),
            filters=filters_of(given),
        )


@extend_schema_field({"$ref": "#/components/schemas/Problem"})
class ProblemField(serializers.JSONField):
    """A problem document."""


class ByWords(serializers.Serializer[Any]):
    """The place in the ranking by words."""

    place = serializers.IntegerField(help_text="1 is the best")
    score = serializers.FloatField(help_text="BM25; comparable only within one answer")


class ByMeaning(serializers.Serializer[Any]):
    """The place in the ranking by meaning."""

    place = serializers.IntegerField(help_text="1 is the nearest")
    distance = serializers.FloatField(help_text="cosine distance")


class Explain(serializers.Serializer[Any]):
    """How a result came to its place. A ranking that did not find it is null."""

    words = ByWords(allow_null=True)
    meaning = ByMeaning(allow_null=True)
    neighbours = serializers.FloatField(help_text="what neighbours added to the score")


class SearchResult(serializers.Serializer[Any]):
    """A memory that was found."""

    id = serializers.CharField()
    memory_log_id = serializers.IntegerField()
    document = serializers.CharField()
    metadata = serializers.DictField()
    distance = serializers.FloatField(
        allow_null=True, help_text="cosine distance; null when there was no vector to compare"
    )
    similarity = serializers.FloatField(allow_null=True, help_text="1 - distance / 2")
    memory = serializers.DictField(
        required=False, allow_null=True, help_text="with `include`; null when it was deleted just now"
    )
    raw_data = serializers.DictField(required=False, help_text="with `include`")
    created_at = serializers.DateTimeField(required=False, help_text="with `include`")
    explain = Explain(required=False, help_text="with `include`")
    score = serializers.FloatField(help_text="results are ordered by it; comparable only within one answer")


class OneAnswer(serializers.Serializer[Any]):
    """The answer to one question of a batch: `results` and `backend`, or `problem`."""

    results = SearchResult(many=True, required=False)
    backend = serializers.CharField(
        required=False, help_text="where vectors were compared: chroma or pgvector; empty for words alone"
    )
    problem = ProblemField(required=False, help_text="why this question has no answer")


class BatchAnswer(serializers.Serializer[Any]):
    """The answers, in the order of the questions."""

    answers = OneAnswer(many=True)
