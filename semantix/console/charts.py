"""The charts of the overview, as data for Chart.js: one point a minute."""

import json
from collections.abc import Mapping, Sequence

from outbox.operations.history import Minute

BLUE, GREEN, RED, AMBER = "#3b82f6", "#16a34a", "#dc2626", "#d97706"
# For the lines of a chart with many: they differ in lightness too.
COLOURS = ("#3b82f6", "#d97706", "#16a34a", "#a855f7", "#dc2626", "#0891b2", "#ca8a04", "#6b7280")
# More lines are not told apart. The others are drawn as one.
MOST_LINES = 7

Points = Sequence[float | None]


def chart(history: Sequence[Minute], *, logarithmic: bool = False, **lines: tuple[str, Points]) -> str:
    """The chart as JSON, with a colour and points for each line; empty if there is nothing to draw.

    `logarithmic`: each step of the axis is ten times the one before, so that one large value does not flatten the rest.
    """
    return _chart(
        history, {label: (colour, points) for label, (colour, points) in lines.items()}, logarithmic
    )


def chart_by(history: Sequence[Minute], name: str, totals: Mapping[str, int]) -> str:
    """A line for each key of the minutes' `by_type` or `by_cluster`, in the order of `totals`."""
    shown, others = list(totals)[:MOST_LINES], list(totals)[MOST_LINES:]
    lines: dict[str, tuple[str, Points]] = {
        key: (COLOURS[place], [getattr(minute, name).get(key, 0) for minute in history])
        for place, key in enumerate(shown)
    }
    if others:
        sums = [sum(getattr(minute, name).get(key, 0) for key in others) for minute in history]
        lines[f"{len(others)} others"] = (COLOURS[-1], sums)
    return _chart(history, lines, logarithmic=False)


def _chart(history: Sequence[Minute], lines: Mapping[str, tuple[str, Points]], logarithmic: bool) -> str:
    if not any(point is not None for _colour, points in lines.values() for point in points):
        return ""
    return json.dumps(
        {
            "labels": [minute.start.strftime("%H:%M") for minute in history],
            "logarithmic": logarithmic,
            "datasets": [
                {
                    "label": label,
                    "data": list(points),
                    "borderColor": colour,
                    "backgroundColor": colour,
                    "pointStyle": ["circle" if alone else False for alone in _alone(points)],
                }
                for label, (colour, points) in lines.items()
            ],
        }
    )


def _alone(points: Points) -> list[bool]:
    """Which points have no neighbour that a line could lead to."""
    around = [None, *points, None]
    return [
        point is not None and before is None and after is None
        for before, point, after in zip(around, points, around[2:], strict=False)
    ]
