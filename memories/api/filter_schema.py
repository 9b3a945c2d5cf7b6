"""The language of filters in the OpenAPI document. Its own rules are stricter: memories/filters/language.py."""

from typing import Any

from memories.filters.language import MAX_CONDITIONS, MAX_DEPTH, MAX_STRING, OPERATORS

Schema = dict[str, Any]

EXAMPLE = {"agent": "coder", "raw_data.solution.status": {"in": ["done", "merged"]}}
ITSELF = {"$ref": "#/components/schemas/Filter"}
LIST: Schema = {"type": "array", "minItems": 1, "maxItems": MAX_CONDITIONS, "items": ITSELF}
COMPARED: Schema = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"enum": sorted({name for names in OPERATORS.values() for name in names})},
}
FILTER: Schema = {
    "type": "object",
    "description": (
        "A memory must meet all conditions. A key is `and`, `or`, `not`, or a field: task, agent, date, created_at, "
        "updated_at, tags, raw_data.<path>. A field has a value, or operators: eq, ne, in, nin, gt, gte, lt, lte, "
        f"contains, exists. At most {MAX_CONDITIONS} conditions and {MAX_DEPTH} levels."
    ),
    "minProperties": 1,
    "properties": {"and": LIST, "or": LIST, "not": ITSELF},
    "additionalProperties": {
        "anyOf": [
            {"type": ["null", "boolean", "number"]},
            {"type": "string", "maxLength": MAX_STRING},
            COMPARED,
        ]
    },
    "propertyNames": {
        "pattern": r"^(and|or|not|task|agent|date|created_at|updated_at|tags|raw_data\.[^\u0000]+)$"
    },
    "examples": [EXAMPLE],
}
