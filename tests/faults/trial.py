"""One run of an experiment: what it was given, and what it found."""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

Size = TypeVar("Size", int, float)


@dataclass
class Trial:
    """Given to an experiment, which fills in counts, figures and anomalies.

    `counts` are what the experiment did (events, kills), `figures` what it measured, by names that end in their unit
    (`slowest_delivery_s`). An empty list of anomalies means that every promise held.
    """

    name: str
    seed: int
    quick: bool
    # An empty folder for this run alone.
    folder: Path
    # How long an experiment may begin further parts that repeats one part very many times.
    minutes: float = 6.0
    counts: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    anomalies: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Seeded by the name, too, so that an experiment chooses the same alone and among others.
        self.chance = Random(f"{self.name} {self.seed}")

    def size(self, full: Size, *, quick: Size) -> Size:
        """The number for this run: `quick` in the short run of the test suite."""
        return quick if self.quick else full

    def expect(self, holds: bool, anomaly: str) -> None:
        """Record the anomaly unless `holds`. The experiment goes on."""
        if not holds:
            self.anomalies.append(anomaly)
            self.say(f"ANOMALY {anomaly}")

    def say(self, text: str) -> None:
        """Print progress to standard error. Standard output has the results alone."""
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def result(self) -> dict[str, Any]:
        """What can be written as JSON."""
        values = asdict(self)
        values.pop("folder")
        return values
