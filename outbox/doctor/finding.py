"""The result of one examination."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an examination expected and found. `repair` tells a person what to do; `fix` does it if that is safe."""

    name: str
    ok: bool
    expected: str
    actual: str
    repair: str
    fix: Callable[[], object] | None = None
    fixed: bool = False

    def as_json(self) -> dict[str, Any]:
        found = asdict(replace(self, fix=None))
        del found["fix"]
        return {**found, "fixable": self.fix is not None}
