"""`python -m benchmarks NAME`: run one measurement; NAME is a module here with `run(options)`."""

import json
import pkgutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import benchmarks

# {subject: {metric with its unit: number}}
Figures = Mapping[str, Mapping[str, float]]

# Parts that measurements share, not measurements.
PARTS = {"__main__", "inline", "relays", "service"}


def main() -> None:
    options = parse(sys.argv[1:])
    figures: Figures = import_module(f"benchmarks.{options.name}").run(options)
    print(json.dumps({options.name: figures}) if options.json else table(figures))


def parse(arguments: list[str]) -> Namespace:
    names = sorted({module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - PARTS)
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--quick", action="store_true", help="small and rough, to see that it works")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, progress on stderr")
    parser.add_argument(
        "--data", type=Path, help="a folder with data to measure on, where the measurement reads one"
    )
    return parser.parse_args(arguments)


def table(figures: Figures) -> str:
    metrics = list(dict.fromkeys(metric for row in figures.values() for metric in row))
    lines = [["", *metrics]]
    lines += [[subject, *(_number(row.get(m)) for m in metrics)] for subject, row in figures.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(metrics) + 1)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
