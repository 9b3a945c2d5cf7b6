"""The tables of `retrieval` in a page, between two markers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.__main__ import Figures

BEGIN, END = "<!-- tables of retrieval -->", "<!-- end of the tables of retrieval -->"
PLAIN = "plain BM25"
DEFAULT = "static"
METRICS = ("recall_at_10", "mrr_at_10")
# How much less than the better of its halves the mode hybrid may find.
ALLOWED = {"recall_at_10": 0.005, "mrr_at_10": 0.01}


def subject(of_set: str, mode: str, embedder: str = "") -> str:
    return " · ".join(part for part in (of_set, mode, embedder) if part)


def write(page: Path, figures: Figures) -> None:
    """Replace what stands between the markers of the page. Raises SystemExit where it has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} lacks the lines {BEGIN} and {END}.")
    page.write_text("\n".join([f"{before}{BEGIN}", "", *_tables(figures), f"{END}{after}"]))


def _tables(figures: Figures) -> Iterator[str]:
    sets = list(dict.fromkeys(name.split(" · ")[0] for name in figures))
    columns = [(PLAIN, ""), ("lexical", ""), ("vector", DEFAULT), ("hybrid", DEFAULT)]
    yield from _table(figures, sets, columns)
    yield from _losses(figures, sets)
    embedders = dict.fromkeys(name.split(" · ")[2] for name in figures if name.count(" · ") == 2)
    others = [(mode, name) for name in embedders if name != DEFAULT for mode in ("vector", "hybrid")]
    if others:
        yield from ["With other embedders:", ""]
        yield from _table(figures, sets, others)


def _table(figures: Figures, sets: list[str], columns: list[tuple[str, str]]) -> Iterator[str]:
    titles = [mode if name in ("", DEFAULT) else f"{mode}, `{name}`" for mode, name in columns]
    yield f"| set | {' | '.join(titles)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for each in sets:
        rows = [figures[subject(each, mode, name)] for mode, name in columns]
        yield f"| {each} | {' | '.join(', '.join(f'{row[metric]:.3f}' for metric in METRICS) for row in rows)} |"
    yield ""


def _losses(figures: Figures, sets: list[str]) -> Iterator[str]:
    """Say where a mode finds less than plain BM25, and where hybrid finds less than the better of its halves."""
    lost = [
        f"- {each}: `{mode}` finds less than plain BM25 ({_difference(row, plain)})."
        for each in sets
        for plain in [figures[subject(each, PLAIN)]]
        for mode, name in (("lexical", ""), ("vector", DEFAULT), ("hybrid", DEFAULT))
        for row in [figures[subject(each, mode, name)]]
        if any(row[metric] < plain[metric] for metric in METRICS)
    ]
    for each in sets:
        words, meaning = figures[subject(each, "lexical")], figures[subject(each, "vector", DEFAULT)]
        better = {metric: max(words[metric], meaning[metric]) for metric in METRICS}
        row = figures[subject(each, "hybrid", DEFAULT)]
        if any(row[metric] < better[metric] - ALLOWED[metric] for metric in METRICS):
            lost.append(
                f"- {each}: `hybrid` finds less than the better of its halves ({_difference(row, better)})."
            )
    yield from [*lost, ""] if lost else ["No mode finds less than plain BM25.", ""]


def _difference(row: Mapping[str, float], other: Mapping[str, float]) -> str:
    return ", ".join(f"{row[metric] - other[metric]:+.3f}" for metric in METRICS)
