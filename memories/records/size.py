"""The size of a memory's raw_data: how many values it has and how many bytes as JSON."""

import json
from typing import Any

import orjson


def count_values(data: dict[str, Any]) -> int:
    """The number of values at every level; each object and list is a value as well."""
    count = 0
    containers: list[Any] = [data]
    while containers:
        container = containers.pop()
        count += len(container)
        values = container.values() if isinstance(container, dict) else container
        containers.extend(value for value in values if isinstance(value, dict | list))
    return count


def json_bytes(data: dict[str, Any]) -> int:
    """The length of the JSON in UTF-8, without white space."""
    try:
        return len(orjson.dumps(data))
    except TypeError:  # orjson writes no integer above 64 bits
        return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
