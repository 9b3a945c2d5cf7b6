"""Query parameters. An unknown one is refused, because a misspelt filter would filter nothing."""

import re
from typing import Any

from django.db import connection
from rest_framework import serializers
from rest_framework.request import Request

from memories.api.bodies import unknown_names
from memories.api.exports import Cursor
from memories.api.fields import Identifier, Text
from memories.api.filters import FilterParameter, filters_of
from memories.api.limits import ID_LENGTH, TEXT_LENGTH
from memories.api.pagination import NewestFirst
from memories.api.serializers.search import INCLUDED, INCLUDED_HELP
from memories.api.tenant_cursor import tenant_of
from memories.api.tenant_defaults import tenant_of_key
from memories.records.sync_status import SyncStatus

# DRF takes `?format=json` to choose the renderer.
ALWAYS = {"format"}


class Words(serializers.ListField):
    """`?name=a,b` or `?name=a&name=b`. A repeated parameter is not split, so its values may have commas."""

    child = Text()

    def to_internal_value(self, data: Any) -> list[str]:
        return super().to_internal_value(data.split(",") if isinstance(data, str) else data)


class Included(Words):
    """What an answer has besides the memory."""

    def __init__(self, **options: Any) -> None:
        child = serializers.ChoiceField(choices=["embedding"])
        super().__init__(child=child, required=False, help_text="`embedding` adds the vector", **options)


class Moment(serializers.DateTimeField):
    """A time in ISO 8601, in UTC unless it has an offset. It must not be in the future."""

    def to_internal_value(self, value: Any) -> Any:
        # An unescaped "+" of the offset arrives as a space.
        moment = super().to_internal_value(re.sub(r" (?=\d\d:?\d\d$)", "+", str(value)))
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement_timestamp()")  # versions have the database's time
            if moment > cursor.fetchone()[0]:
                raise serializers.ValidationError("This time is in the future.")
        return moment


class Parameters(serializers.Serializer[Any]):
    """The query parameters of a view."""

    @classmethod
    def of(cls, request: Request) -> dict[str, Any]:
        """The valid parameters of the request. Raises ValidationError with the name of each wrong one."""
        given = {
            name: values[0] if len(values) == 1 else values for name, values in request.query_params.lists()
        }
        required = {name for name, field in cls().fields.items() if field.required}
        defaults = {name: value for name, value in tenant_of_key(request).items() if name in required}
        parameters = cls(data=defaults | given)
        if unknown := given.keys() - parameters.fields.keys() - ALWAYS:
            raise serializers.ValidationError(unknown_names(unknown, parameters.fields, "parameter"))
        parameters.is_valid(raise_exception=True)
        return dict(parameters.validated_data)


class PageParameters(Parameters):
    cursor = serializers.CharField(required=False, help_text="from `next` or `previous` of another page")
    page_size = serializers.IntegerField(required=False, min_value=1, max_value=NewestFirst.max_page_size)


class CreateParameters(Parameters):
    """Parameters of a create."""

    if_similar = serializers.ChoiceField(
        choices=["skip", "link"],
        required=False,
        help_text="when a similar memory exists: `skip` answers 200 with it and stores nothing, `link` names it in "
        "`similar_to`",
    )
    min_similarity = serializers.FloatField(
        default=0.95,
        min_value=0.0,
        max_value=1.0,
        help_text="from which similarity on two memories are similar",
    )


class MemoryParameters(Parameters):
    """Parameters of one memory."""

    as_of = Moment(required=False, help_text="the memory as it was then, also when it was deleted since")
    include = Included()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "as_of" in attrs and attrs.get("include"):
            raise serializers.ValidationError(
                {"include": "Earlier embeddings are not kept. Leave out as_of."}
            )
        return attrs


class ConditionParameters(Parameters):
    """Conditions on memories. A memory must meet all of them."""

    task = Text(required=False, max_length=TEXT_LENGTH, help_text="exactly this task")
    agent = Text(required=False, max_length=ID_LENGTH)
    date_from = serializers.DateField(required=False, help_text="this date or later")
    date_to = serializers.DateField(required=False, help_text="this date or earlier")
    tags = Words(
        required=False,
        help_text="all of these in `raw_data.tags`: with commas between them, or repeated",
    )
    filter = FilterParameter()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        filters_of(attrs)
        return attrs


class FilterParameters(ConditionParameters):
    """Which memories, of which tenants."""

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)


class CountParameters(FilterParameters):
    """Which memories are counted."""

    as_of = Moment(required=False, help_text="the memories as they were then")


class SimilarParameters(ConditionParameters):
    """Parameters of a search for similar memories."""

    limit = serializers.IntegerField(default=10, min_value=1, max_value=100)
    min_similarity = serializers.FloatField(default=0.0, min_value=0.0, max_value=1.0)
    include = Words(child=serializers.ChoiceField(choices=INCLUDED), required=False, help_text=INCLUDED_HELP)


class MemoriesParameters(FilterParameters, MemoryParameters, PageParameters):
    """Parameters of a list of memories."""

    sync_status = serializers.ChoiceField(choices=SyncStatus.choices, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "as_of" in attrs and "sync_status" in attrs:
            raise serializers.ValidationError(
                {"sync_status": "Earlier sync states are not kept. Leave out as_of."}
            )
        return super().validate(attrs)


class TenantCursor(serializers.CharField):
    """The last tenant of the page before."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return tenant_of(super().to_internal_value(data))
        except ValueError:
            raise serializers.ValidationError("This is not a cursor from `next` of a page.") from None


class TotalsParameters(Parameters):
    """Parameters of the list of tenants."""

    user_id = Identifier(required=False)
    cursor = TenantCursor(required=False, help_text="from `next` of another page")
    page_size = serializers.IntegerField(
        default=50, min_value=1, max_value=100, help_text="the most tenants of a page"
    )


class ExportCursor(serializers.CharField):
    """Where the next page of an export starts; it comes from the `Link` of a page."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return Cursor.parse(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(f"{error}.") from None


class ExportParameters(Parameters):
    """What to export."""

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)
    include = Words(
        child=serializers.ChoiceField(choices=["versions", "embeddings", "conversations"]),
        required=False,
        help_text="all versions, the vectors, conversations with their turns",
    )
    cursor = ExportCursor(required=False, help_text="from the `Link` of another page")


class DeletedMemories(FilterParameters):
    """The memories that a bulk deletion is about: the filters of the list, and how many the caller expects."""

    confirm = serializers.IntegerField(
        min_value=0, help_text="how many memories you expect to match; another number is refused with 409"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs.keys() - {"confirm"}:
            raise serializers.ValidationError("Give at least one filter: user_id, for one.")
        return super().validate(attrs)


class TenantParameters(Parameters):
    """Parameters of something that is unique only within its tenant."""

    user_id = Identifier()
    project_id = Identifier()


class ExternalParameters(TenantParameters):
    """Parameters of a memory that is read by its external id."""

    include = Included()


class ConversationParameters(TenantParameters):
    after = serializers.IntegerField(
        default=0, min_value=0, max_value=2**63 - 1, help_text="only turns with a higher number"
    )
    page_size = serializers.IntegerField(
        default=100, min_value=1, max_value=NewestFirst.max_page_size, help_text="the most turns of a page"
    )


class ConversationsParameters(PageParameters):
    """Parameters of a list of conversations."""

    user_id = Identifier(required=False)
    project_id = Identifier(required=False)


def owner_of(parameters: dict[str, Any]) -> dict[str, str]:
    """The user and the project among the parameters."""
    return {name: parameters[name] for name in ("user_id", "project_id") if name in parameters}
