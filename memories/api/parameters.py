"""What may stand in the query of a GET. Anything else is refused: a misspelt filter would filter nothing."""

import re
from typing import Any

from django.db import connection
from rest_framework import serializers
from rest_framework.request import Request

from memories.api.fields import Identifier, Text
from memories.api.limits import ID_LENGTH, TEXT_LENGTH
from memories.api.pagination import NewestFirst
from memories.records.sync_status import SyncStatus

# `?format=json` chooses the renderer.
ALWAYS = {"format"}


class Words(serializers.ListField):
    """`?name=a,b` or `?name=a&name=b`."""

    child = Text()

    def to_internal_value(self, data: Any) -> list[str]:
        given = [data] if isinstance(data, str) else data
        return super().to_internal_value([word for part in given for word in str(part).split(",")])


class Moment(serializers.DateTimeField):
    """A time in ISO 8601; without an offset it is UTC. Not in the future: nothing is known of that."""

    def to_internal_value(self, value: Any) -> Any:
        # An unescaped "+" of the offset arrives as a space.
        moment = super().to_internal_value(re.sub(r" (?=\d\d:?\d\d$)", "+", str(value)))
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement_timestamp()")  # versions carry the database's time
            if moment > cursor.fetchone()[0]:
                raise serializers.ValidationError("Is in the future.")
        return moment


class Parameters(serializers.Serializer[Any]):
    """The parameters that a view takes."""

    @classmethod
    def of(cls, request: Request) -> dict[str, Any]:
        """Those of the request, checked. Raises ValidationError with the parameter's name."""
        given = {
            name: values[0] if len(values) == 1 else values for name, values in request.query_params.lists()
        }
        parameters = cls(data=given)
        known = {*parameters.fields, *ALWAYS}
        if unknown := sorted(set(given) - known):
            there_are = f"Unknown parameter. There are: {', '.join(sorted(parameters.fields)) or 'none'}."
            raise serializers.ValidationError({name: [there_are] for name in unknown})
        parameters.is_valid(raise_exception=True)
        return dict(parameters.validated_data)


class PageParameters(Parameters):
    cursor = serializers.CharField(required=False, help_text="from `next` or `previous` of another page")
    page_size = serializers.IntegerField(required=False, min_value=1, max_value=NewestFirst.max_page_size)


class MemoryParameters(Parameters):
    """One memory."""

    as_of = Moment(required=False, help_text="as it was then, even if it was deleted since")
    include = Words(
        child=serializers.ChoiceField(choices=["embedding"]),
        required=False,
        help_text="`embedding`: the vector, too",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "as_of" in attrs and attrs.get("include"):
            raise serializers.ValidationError(
                {"include": "Earlier embeddings are not kept; leave out as_of."}
            )
        return attrs


class MemoriesParameters(MemoryParameters, PageParameters):
    """A list of memories. Filters are all to be met."""

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)
    task = Text(required=False, max_length=TEXT_LENGTH, help_text="exactly this task")
    agent = Text(required=False, max_length=ID_LENGTH)
    date_from = serializers.DateField(required=False, help_text="of this date or later")
    date_to = serializers.DateField(required=False, help_text="of this date or earlier")
    tags = Words(required=False, help_text="all of these in `raw_data.tags`, separated by commas")
    sync_status = serializers.ChoiceField(choices=SyncStatus.choices, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "as_of" in attrs and "sync_status" in attrs:
            raise serializers.ValidationError(
                {"sync_status": "Is not kept for earlier times; leave out as_of."}
            )
        return super().validate(attrs)


class DeletedMemories(Parameters):
    """The memories that a bulk deletion is about: the filters of the list, and how many the caller expects."""

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)
    task = Text(required=False, max_length=TEXT_LENGTH, help_text="exactly this task")
    agent = Text(required=False, max_length=ID_LENGTH)
    date_from = serializers.DateField(required=False, help_text="of this date or later")
    date_to = serializers.DateField(required=False, help_text="of this date or earlier")
    tags = Words(required=False, help_text="all of these in `raw_data.tags`")
    confirm = serializers.IntegerField(
        min_value=0, help_text="how many memories you expect to match; another number is refused with 409"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs.keys() - {"confirm"}:
            raise serializers.ValidationError("Give at least one filter: user_id, for one.")
        return attrs


class TenantParameters(Parameters):
    """What is unique within a tenant only."""

    user_id = Identifier()
    project_id = Identifier()


class ConversationParameters(TenantParameters):
    after = serializers.IntegerField(
        default=0, min_value=0, max_value=2**63 - 1, help_text="only turns with a higher number"
    )


class ConversationsParameters(PageParameters):
    """A list of conversations."""

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)


# How a filter of a list is asked of the rows.
LOOKUPS = {
    "user_id": "user_id",
    "project_id": "project_id",
    "task": "task",
    "agent": "agent",
    "date_from": "date__gte",
    "date_to": "date__lte",
    "tags": "raw_data__tags__contains",
}


def conditions(parameters: dict[str, Any]) -> dict[str, Any]:
    """The filters among the parameters, as keyword arguments of `QuerySet.filter`."""
    return {LOOKUPS[name]: value for name, value in parameters.items() if name in LOOKUPS}
