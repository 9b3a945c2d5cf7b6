"""Whether an answer is what a page says it is.

A page may leave out with an ellipsis: the end of a value, of an object or of a list. Times and numbers differ from
run to run, so only their kind is compared.
"""

import json
import re
from typing import Any

MORE = "…"
DATE = re.compile(r"\d{4}-\d\d-\d\d(T.*)?$")


def shown(text: str) -> Any:
    """The value of a JSON block, in which an ellipsis may stand for the rest of an object or a list."""
    text = re.sub(r"[…]\s*\}", f'"{MORE}": null}}', text)
    return json.loads(re.sub(r"[…]\s*\]", f'"{MORE}"]', text))


def difference(expected: Any, actual: Any, path: str = "") -> str:
    """The first difference as one line; empty where the answer is as shown."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return _of_objects(expected, actual, path)
    if isinstance(expected, list) and isinstance(actual, list):
        return _of_lists(expected, actual, path)
    return "" if _alike(expected, actual) else f"{path or '/'} is {actual!r}, and the page says {expected!r}"


def _of_objects(expected: dict[str, Any], actual: dict[str, Any], path: str) -> str:
    names = expected.keys() - {MORE}
    if missing := names - actual.keys():
        return f"{path}/{min(missing)} is missing in the answer"
    if MORE not in expected and (unsaid := actual.keys() - names):
        return f"{path}/{min(unsaid)} is missing on the page"
    each = (difference(expected[name], actual[name], f"{path}/{name}") for name in expected if name != MORE)
    return next(filter(None, each), "")


def _of_lists(expected: list[Any], actual: list[Any], path: str) -> str:
    wanted = [each for each in expected if each != MORE]
    if len(actual) < len(wanted) or (len(actual) > len(wanted) and MORE not in expected):
        return f"{path} has {len(actual)} items, and the page shows {len(wanted)}"
    each = (difference(a, b, f"{path}/{n}") for n, (a, b) in enumerate(zip(wanted, actual, strict=False)))
    return next(filter(None, each), "")


def _alike(expected: Any, actual: Any) -> bool:
    if isinstance(expected, str) and isinstance(actual, str):
        return bool(DATE.match(expected) and DATE.match(actual)) or says(expected, actual)
    if isinstance(expected, bool) or expected is None:
        return expected is actual
    return isinstance(actual, int | float) and not isinstance(actual, bool | str)


def says(expected: str, actual: str) -> bool:
    """Whether a text is as shown, where an ellipsis stands for anything and a number for any number."""
    pattern = ".*".join(re.sub(r"\d+", r"\\d+", re.escape(part)) for part in expected.strip().split(MORE))
    return bool(re.fullmatch(pattern, actual.strip(), re.DOTALL))
