"""JSON Merge Patch (RFC 7396)."""

from typing import Any


def merge(target: Any, patch: Any) -> Any:
    """The target with the patch applied; both stay as they are.

    An object in the patch is merged key by key, and null removes a key. Any other value replaces the target. It calls
    itself for each level, of which a body has at most limits.DEPTH.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
