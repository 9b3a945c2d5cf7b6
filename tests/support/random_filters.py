"""Random raw_data, and random filters on it. Their values are easily taken for one another."""

from random import Random
from typing import Any

SCALARS: list[Any] = [
    None, True, False, 0, 1, 2, -1, 1.0, 2.5, 0.1, 1e22, 10**22, 2**53 + 1, 1e-7, "", "1", "a", "ab", "A", "é", "z",
    "true", "null", "2026-01-31", "😀", "\uffff", '"', "a.b", "%s", "{0}", "\\",
]  # fmt: skip
KEYS = ["a", "b", "tags", "0", "x.y", "solution", "%s"]
PATHS = [
    "a", "b", "tags", "0", r"x\.y", "solution", "solution.a", "a.b", "a.0", "a.-1", "a.1.b", "tags.0", "%s", "b.%s",
]  # fmt: skip
TAGS = ["a", "ab", "1", "é", ""]
OPERANDS: dict[str, list[Any]] = {
    "task": ["Fix the login", "Fix", "the", "z", ""],
    "agent": ["ann", "bob", "é", "a", "é "],
    "date": ["2024-05-08", "2024-05-09", "2026-01-31", "0001-01-01"],
    "created_at": ["2020-01-01", "2020-01-01T00:00:00", "2100-01-01T08:00:00+02:00"],
    "tags": TAGS,
}
EQUALITY, ORDER = ["eq", "ne", "in", "nin"], ["gt", "gte", "lt", "lte"]


def random_raw(random: Random) -> dict[str, Any]:
    """The raw_data of a memory."""
    raw = {key: _value(random, depth=2) for key in random.sample(KEYS, random.randint(0, 4))}
    if random.random() < 0.5:
        raw["tags"] = random.sample(TAGS, random.randint(0, 3))
    return raw


def random_filter(random: Random, depth: int = 2) -> dict[str, Any]:
    """A filter that the API takes."""
    match random.choice(["and", "or", "not", "field", "field"] if depth else ["field"]):
        case "not":
            return {"not": random_filter(random, depth - 1)}
        case "field":
            return dict(_condition(random) for _ in range(random.randint(1, 2)))
        case joined:
            return {joined: [random_filter(random, depth - 1) for _ in range(random.randint(1, 3))]}


def _condition(random: Random) -> tuple[str, Any]:
    field = random.choice([*OPERANDS, *["raw_data"] * 6])
    operands = OPERANDS.get(field, SCALARS)
    if field == "raw_data":
        field = f"raw_data.{random.choice(PATHS)}"
        operators = [*EQUALITY, *ORDER, "contains", "exists"]
    elif field == "tags":
        operators = [*EQUALITY, "contains", "exists"]
    else:
        operators = [*EQUALITY, *ORDER, *(["contains"] if field in ("task", "agent") else [])]
    if random.random() < 0.2:
        return field, random.choice(operands)
    chosen = random.sample(operators, random.choice([1, 1, 1, 2]))
    return field, {operator: _operand(random, operator, operands) for operator in chosen}


def _operand(random: Random, operator: str, operands: list[Any]) -> Any:
    if operator == "exists":
        return random.random() < 0.5
    if operator in ("in", "nin") or (operator == "contains" and random.random() < 0.5):
        return random.sample(operands, random.randint(1, 3))
    if operator in ORDER:
        return random.choice([one for one in operands if isinstance(one, str | float) or type(one) is int])
    return random.choice(operands)


def _value(random: Random, depth: int) -> Any:
    match random.choice(["scalar", "scalar", "list", "object"]) if depth else "scalar":
        case "list":
            return [_value(random, depth - 1) for _ in range(random.randint(0, 3))]
        case "object":
            return {key: _value(random, depth - 1) for key in random.sample(KEYS, random.randint(0, 3))}
    return random.choice(SCALARS)
