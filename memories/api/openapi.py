"""Parts of the OpenAPI document that serializers cannot declare: problems, keys, headers, limits of JSON."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from memories.api import limits
from memories.api.authentication import is_open
from memories.api.filter_schema import FILTER
from memories.api.problems import CONTENT_TYPE

Schema = dict[str, Any]

# The white space of Python's str.strip(). The meaning of \s differs between regular expression engines.
WHITE_SPACE = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
INK = rf"[^\u0000{WHITE_SPACE}]"
# TEXT has no U+0000 and is not only white space. An IDENTIFIER also has no white space at its ends.
TEXT: Schema = {"type": "string", "minLength": 1, "pattern": rf"^[^\u0000]*{INK}[^\u0000]*$"}
IDENTIFIER: Schema = {"type": "string", "minLength": 1, "pattern": rf"^{INK}([^\u0000]*{INK})?$"}
STORED_TEXT = {"type": "string", "pattern": r"^[^\u0000]*$"}
# Larger integers are taken when a double keeps their digits, which a schema cannot express.
NUMBERS: list[Schema] = [
    {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    {"type": "number"},
]
JSON_OBJECT: Schema = {
    "type": "object",
    "additionalProperties": {"$ref": "#/components/schemas/JSONValue"},
    "propertyNames": STORED_TEXT,
}
JSON_VALUE: Schema = {
    "description": (
        f"JSON with at most {limits.DEPTH} levels (the body is the first), strings of {limits.STRING_LENGTH:,} "
        f"characters, lists of {limits.ITEMS:,} items, objects of {limits.KEYS:,} keys, keys of "
        f"{limits.KEY_LENGTH} characters, integers of 64 bits."
    ),
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        *NUMBERS,
        STORED_TEXT,
        {"type": "array", "items": {"$ref": "#/components/schemas/JSONValue"}},
        JSON_OBJECT,
    ],
}
MERGE_PATCH_BODY: Schema = {
    "type": "object",
    "description": "RFC 7396: raw_data is merged key by key, null removes a key; other fields are replaced.",
    "properties": {
        "task": TEXT,
        "agent": TEXT,
        "date": {"type": "string", "format": "date"},
        "raw_data": {"anyOf": [JSON_OBJECT, {"type": "null"}]},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
    },
    "additionalProperties": False,
}
PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. `type` ends in a stable code; `errors` point into the request.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:semantix:problem:invalid"]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901; for a parameter, / and its name"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_TEXT_HEADER: Schema = {"schema": {"type": "string"}}
_SECONDS_HEADER: Schema = {"schema": {"type": "integer", "minimum": 0}, "description": "seconds to wait"}
HEADERS: dict[int, dict[str, Schema]] = {
    401: {"WWW-Authenticate": _TEXT_HEADER},
    409: {"Retry-After": _SECONDS_HEADER},
    429: {"Retry-After": _SECONDS_HEADER},
    503: {"Retry-After": _SECONDS_HEADER},
}
# The batch of questions; other lists are memories.
SEARCH_BATCH = "memory_logs_search_batch"
# Fields that an API key names already.
DEFAULTED = {"user_id", "project_id"}
ALWAYS = {
    400: "The request is invalid; `errors` say where",
    401: "The API key is missing, unknown, revoked or expired",
    403: "The key is for another user or project",
    406: "Only JSON is available",
    429: "Too many requests with this key (THROTTLE_RATE)",
    503: "PostgreSQL does not answer, or too many events wait",
}
WITH_BODY = {413: "The body is too large", 415: "The body is not JSON"}
WITH_ID = {404: "It does not exist, or belongs to another tenant"}

ETAG = OpenApiParameter(
    "ETag",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="the version, to use in If-Match",
    response=[200, 201],
)
LINK = OpenApiParameter(
    "Link",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description='the next page, as `<url>; rel="next"`',
    response=[200],
)
LOCATION = OpenApiParameter(
    "Location",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="the URL of what was stored",
    response=[201, 202],
)

IF_MATCH = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": r'^(\*|"?[0-9]{1,9}"?)$'},
    OpenApiParameter.HEADER,
    description="an ETag: only if the memory is still at this version; otherwise 412",
)
KEY = "[!-~]([ -~]*[!-~])?"
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^{KEY}$", "maxLength": limits.ID_LENGTH},
    OpenApiParameter.HEADER,
    description="the same key and body again gets the stored answer; nothing is done twice",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    {"type": "string", "const": "*"},
    OpenApiParameter.HEADER,
    description="`*`: only if there is no memory with this external id; otherwise 412",
)
EXTERNAL_ID = OpenApiParameter(
    "external_id",
    IDENTIFIER | {"maxLength": limits.ID_LENGTH},
    OpenApiParameter.PATH,
    description="your own id of the memory; a / in it is sent as %2F",
)
CONVERSATION_ID = OpenApiParameter(
    "conversation_id", IDENTIFIER | {"maxLength": limits.ID_LENGTH}, OpenApiParameter.PATH
)
REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    {"type": "string", "const": "true"},
    OpenApiParameter.HEADER,
    description="this is the stored answer of an earlier request",
    response=[201, 202],
)
IDEMPOTENCY_PROBLEMS = {
    409: OpenApiResponse(description="A request with this Idempotency-Key is in progress"),
    422: OpenApiResponse(description="The Idempotency-Key belongs to another request"),
}
PREFER = OpenApiParameter(
    "Prefer",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="`wait=10` holds the answer until search finds the memory, for at most 10 seconds "
    f"({limits.WAIT_SECONDS} is the longest wait)",
)
APPLIED = OpenApiParameter(
    "Preference-Applied",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="the answer was held; `sync` has the status at its end",
    response=[200, 201],
)
COUNT_DIFFERS = OpenApiResponse(
    description="The filters match another number of memories than `confirm` says"
)
CHANGED = OpenApiResponse(description="The memory is not at the version that If-Match names")


def describe_problems(result: Schema, **_: Any) -> Schema:
    """Add the error responses to every operation, and the schemas they use. drf-spectacular calls this hook.

    A view declares an error of its own with a status and a description only.
    """
    components = result.setdefault("components", {}).setdefault("schemas", {})
    for name, component in components.items():
        if name.endswith("Request") and "additionalProperties" not in component:  # its fields are free
            component |= {name: JSON_OBJECT[name] for name in ("additionalProperties", "propertyNames")}
    components |= {"Problem": PROBLEM, "JSONValue": JSON_VALUE, "Filter": FILTER}
    for path, operations in result["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            _bound_lists(operation)
            if is_open():
                operation["security"].append({})
            expected = (
                ALWAYS | (WITH_BODY if "requestBody" in operation else {}) | (WITH_ID if "{" in path else {})
            )
            own = {int(status): found for status, found in responses.items() if int(status) >= 400}
            for status in sorted({*expected, *own}):
                responses[str(status)] = _problem_response(
                    status, own.get(status, {}).get("description") or expected[status]
                )
    return result


def _bound_lists(operation: Schema) -> None:
    for body in operation.get("requestBody", {}).get("content", {}).values():
        if body["schema"].get("type") == "array":
            most = limits.SEARCHES if operation["operationId"] == SEARCH_BATCH else settings.BATCH_MAX_ITEMS
            body["schema"] |= {"minItems": 1, "maxItems": most}


def page_of(shape: type[serializers.BaseSerializer[Any]], name: str) -> serializers.Serializer[Any]:
    """The schema of one page of a list of `shape`, under the component name `name`."""
    fields = {
        "next": serializers.URLField(allow_null=True, help_text="URL of the next page"),
        "previous": serializers.URLField(allow_null=True, help_text="URL of the page before"),
        "results": shape(many=True),
    }
    shaped: serializers.Serializer[Any] = type(name, (serializers.Serializer,), fields)()
    return shaped


class StrictBody(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A Body has no other fields than those it declares, and those that a GET answers, which it ignores."""

    target_class = "memories.api.bodies.Body"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Schema:
        schema: Schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # noqa: SLF001
        ignored = {
            name: {"$ref": "#/components/schemas/JSONValue"}
            for name in sorted(self.target.answered)
            if name not in schema["properties"]
        }
        required = set(schema.get("required", ())) - (set() if is_open() else DEFAULTED)
        return schema | {
            "properties": schema["properties"] | ignored,
            "additionalProperties": False,
            **({"required": sorted(required)} if required else {}),
        }


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "memories.api.authentication.KeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        about = "From `manage.py create_api_key` or the admin. `Api-Key` works in place of `Bearer`."
        return {"type": "http", "scheme": "bearer", "description": about}


def _problem_response(status: int, description: str) -> Schema:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: Schema = {"description": description, "content": content}
    return response | ({"headers": HEADERS[status]} if status in HEADERS else {})
