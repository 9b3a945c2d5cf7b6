"""Dates in the words of a question, in the languages of its months, to find the memories of that day or month."""

import re

from memories.embeddings.stop_words import folded

# By month: the beginnings that no other month has, in English, German, French, Spanish, Italian, Portuguese, Dutch,
# Swedish, Danish, Norwegian, Finnish, Polish, Czech, Romanian, Hungarian, Turkish, Russian, Ukrainian and Greek.
_MONTHS = (
    "jan janner gen ene ian stycz led oca янв січ ιαν tammi",
    "feb feber fev lut unor sub фев лют φεβ helmi",
    "mar mrz maerz maa brez мар бер μαρ mart",
    "apr avr abr kwie dub nis апр квіт απρ huhti",
    "may mai mag maj maio mayo mei touko kvet мая май трав μαι",
    "jun juin giu haz iun kesa czerw cerv июн черв ιουν",
    "jul juil lug tem iul heina lip cervenec июл лип ιουλ",
    "aug aou ago aug elo sierp srp avg авг серп αυγ agu",
    "sep set eyl syys wrzes zari szept сен вер σεπ",
    "oct okt ott out eki loka pazdz rij окт жовт οκτ",
    "nov kas marras listopad ноя лист νοε",
    "dec dez dic des ara joulu grud prosin дек груд δεκ",
)
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?P<year>\d{4})"
_ORDINAL = r"(?:st|nd|rd|th|er|e|ste|de|\.|º|ª)?"
_OF = r"[\s.,]+(?:(?:of|de|del|di|den|the)\s+)?"
_MONTH = r"(?P<month>[^\W\d_]{3,12})\.?"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_DAY}{_ORDINAL}{_OF}{_MONTH}(?:{_OF}{_YEAR})?\b",
        rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}{_ORDINAL}\b(?:\s*,?\s*{_YEAR}\b)?",
        rf"\b{_MONTH}\s+(?:de\s+|del\s+)?{_YEAR}\b",
        rf"(?:{_YEAR}\s*[年년]\s*)?(?P<number>1[0-2]|0?[1-9])\s*[月월]\s*{_DAY}\s*[日일号]",
        rf"\b{_DAY}\.\s?(?P<number>1[0-2]|0?[1-9])\.(?:\s?{_YEAR})?(?!\d)",
        r"\b(?P<year>(?:19|20)\d\d)(?P<number>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])\b",
    )
)


def days(text: str) -> list[str]:
    """Return the dates in the text as memories have them: YYYY-MM-DD, and MM-DD or YYYY-MM where the rest is missing.

    >>> days("the standup of November 24th, the 3rd of May 2026, and March 2025")
    ['05-03', '11-24', '2025-03', '2026-05-03']
    >>> days("am 24. November, 24.11.2026, el 3 de mayo, 11月24日, 1 марта")
    ['03-01', '05-03', '11-24', '2026-11-24']
    """
    words = folded(text[:10_000])
    found = (_day(match) for pattern in _PATTERNS for match in pattern.finditer(words))
    return sorted({day for day in found if day})


def _day(match: re.Match[str]) -> str:
    parts = match.groupdict()
    month = int(parts["number"]) if parts.get("number") else _month(parts["month"])
    if not month:
        return ""
    numbers = (parts.get("year"), f"{month:02}", parts.get("day") and f"{int(parts['day']):02}")
    return "-".join(number for number in numbers if number)


def _month(name: str) -> int:
    """Return the number of the month with this name, or 0."""
    for number, beginnings in enumerate(_MONTHS, 1):
        if any(name.startswith(beginning) for beginning in beginnings.split()):
            return number
    return 0
