"""What the OpenAPI document says beyond the serializers: problems, keys, headers, what JSON may hold."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from memories.api import limits
from memories.api.authentication import is_open
from memories.api.problems import CONTENT_TYPE

Schema = dict[str, Any]

# As Python's str.strip() has it; what \s means differs from one kind of regular expression to the next.
WHITE_SPACE = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
INK = rf"[^\u0000{WHITE_SPACE}]"
# Text that is more than white space, without U+0000; an id has no white space around it either.
TEXT: Schema = {"type": "string", "minLength": 1, "pattern": rf"^[^\u0000]*{INK}[^\u0000]*$"}
IDENTIFIER: Schema = {"type": "string", "minLength": 1, "pattern": rf"^{INK}([^\u0000]*{INK})?$"}
STORED_TEXT = {"type": "string", "pattern": r"^[^\u0000]*$"}
# Of integers beyond 64 bits only those that are a double's own digits: a schema cannot say that.
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
        f"JSON of at most {limits.DEPTH} levels (the body is the first), strings of {limits.STRING_LENGTH:,} "
        f"characters, lists of {limits.ITEMS:,} items, objects of {limits.KEYS:,} keys of {limits.KEY_LENGTH} "
        "characters, integers of 64 bits."
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
PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. `type` ends in a code that stays the same; `errors` point into the request.",
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
                    "pointer": {"type": "string", "description": "RFC 6901, or / and a parameter's name"},
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
ALWAYS = {
    400: "What is wrong with the request, and where",
    401: "No API key, or one that is unknown, revoked or expired",
    403: "The key is for another user or project",
    406: "Only JSON can be had",
    429: "Too many requests with this key (THROTTLE_RATE)",
    503: "PostgreSQL is away, or too much waits already",
}
WITH_BODY = {413: "The body is too large", 415: "The body is not JSON"}
WITH_ID = {404: "It does not exist, or is not yours"}

ETAG = OpenApiParameter(
    "ETag",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="the version, for If-Match",
    response=[200, 201],
)
LOCATION = OpenApiParameter(
    "Location", OpenApiTypes.STR, OpenApiParameter.HEADER, description="where it is now", response=[201, 202]
)

IF_MATCH = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": r'^(\*|"?[0-9]{1,9}"?)$'},
    OpenApiParameter.HEADER,
    description="only if the memory is at this version still: an ETag; otherwise 412",
)
KEY = "[!-~]([ -~]*[!-~])?"
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^{KEY}$", "maxLength": limits.ID_LENGTH},
    OpenApiParameter.HEADER,
    description="the same key with the same body is answered again, not done again",
)
CONVERSATION_ID = OpenApiParameter(
    "conversation_id", IDENTIFIER | {"maxLength": limits.ID_LENGTH}, OpenApiParameter.PATH
)
REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    {"type": "string", "const": "true"},
    OpenApiParameter.HEADER,
    description="this answer was given before",
    response=[201, 202],
)
IDEMPOTENCY_PROBLEMS = {
    409: OpenApiResponse(description="A request with this Idempotency-Key is being worked on"),
    422: OpenApiResponse(description="The Idempotency-Key came with another request before"),
}
PREFER = OpenApiParameter(
    "Prefer",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="`wait=10` holds the answer until what was stored can be found, 10 seconds at most "
    f"(no wait is longer than {limits.WAIT_SECONDS})",
)
APPLIED = OpenApiParameter(
    "Preference-Applied",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="the answer was held; `sync` says how far it came",
    response=[200, 201],
)
COUNT_DIFFERS = OpenApiResponse(
    description="The filters match another number of memories than `confirm` says"
)
CHANGED = OpenApiResponse(description="It is at another version than If-Match names")


def describe_problems(result: Schema, **_: Any) -> Schema:
    """drf-spectacular's hook: every operation's errors, and the components they are made of.

    A view names an error of its own by status and description alone.
    """
    components = result.setdefault("components", {}).setdefault("schemas", {})
    for name, component in components.items():
        if name.endswith("Request"):  # what is not known is passed over, but it is JSON of the same kind
            component |= {name: JSON_OBJECT[name] for name in ("additionalProperties", "propertyNames")}
    components |= {"Problem": PROBLEM, "JSONValue": JSON_VALUE}
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
            body["schema"] |= {"minItems": 1, "maxItems": settings.BATCH_MAX_ITEMS}


def page_of(shape: type[serializers.BaseSerializer[Any]], name: str) -> serializers.Serializer[Any]:
    """The shape of a page of a list."""
    fields = {
        "next": serializers.URLField(allow_null=True, help_text="the page after this one"),
        "previous": serializers.URLField(allow_null=True),
        "results": shape(many=True),
    }
    shaped: serializers.Serializer[Any] = type(name, (serializers.Serializer,), fields)()
    return shaped


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "memories.api.authentication.KeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        about = "From `manage.py create_api_key` or the admin. `Api-Key` in place of `Bearer` does, too."
        return {"type": "http", "scheme": "bearer", "description": about}


def _problem_response(status: int, description: str) -> Schema:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: Schema = {"description": description, "content": content}
    return response | ({"headers": HEADERS[status]} if status in HEADERS else {})
