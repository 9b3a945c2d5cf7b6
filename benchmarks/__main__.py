"""`python -m benchmarks NAME`: run one measurement. NAME is a module of this package with `run(options)`."""

import ast
import json
import pkgutil
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import benchmarks

# {subject: {metric with its unit: number}}
Figures = Mapping[str, Mapping[str, float]]

# Modules that measurements share.
PARTS = {
    "__main__",
    "goals",
    "inline",
    "plain_bm25",
    "processor",
    "relays",
    "report",
    "retrieval_tables",
    "service",
}


def main() -> None:
    options = parse(sys.argv[1:])
    figures: Figures = import_module(f"benchmarks.{options.name}").run(options)
    print(json.dumps({options.name: figures}) if options.json else table(figures))


def names() -> list[str]:
    """The measurements, in alphabetical order."""
    return sorted({module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - PARTS)


def description(name: str) -> str:
    """The first sentence of a measurement's docstring. The module is not imported: it may need Django."""
    source = (Path(__file__).parent / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


def parse(arguments: list[str]) -> Namespace:
    width = max(map(len, names())) + 2
    parser = ArgumentParser(
        prog="python -m benchmarks",
        description="Run one measurement on this machine, with throw-away stores.",
        epilog="measurements:\n" + "\n".join(f"  {name:<{width}}{description(name)}" for name in names()),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=names(), metavar="NAME", help="a measurement of the list below")
    parser.add_argument("--quick", action="store_true", help="a small run with rough figures")
    parser.add_argument(
        "--json", action="store_true", help="print the figures as JSON; progress goes to stderr"
    )
    parser.add_argument("--data", type=Path, help="a folder with data, for a measurement that reads some")
    parser.add_argument("--write", type=Path, help="the page whose tables `retrieval` writes")
    parser.add_argument(
        "--embedders",
        help="those that `retrieval` and `neighbours` measure, with commas; `retrieval` needs static among them",
    )
    parser.add_argument(
        "--memories",
        type=int,
        help="how many memories `erasure` erases, `sizes` stores, or `costs` runs beside",
    )
    parser.add_argument("--tenants", type=int, help="how many tenants `costs` and `mixed` measure")
    parser.add_argument("--web-servers", type=int, default=1, help="how many web servers `mixed` runs, too")
    parser.add_argument("--clusters", type=int, default=1, help="how many clusters `mixed` runs, too")
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
