"""What the Chroma server accepts: bounds of one call, of one document and of the calls at the same time.

A server of our own has the bounds that we give it. A hosted one has lower bounds and refuses what is above them, so
batches, metadata and conditions are fitted here. What does not fit is left out of the index: Chroma only narrows a
search, and PostgreSQL decides.
"""

import json
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class Quotas(NamedTuple):
    """The bounds. The defaults are those of a server of our own."""

    # Documents that one call writes or deletes. Chroma accepts at most 5,461.
    records: int = 1_000
    # Documents that one call returns.
    results: int = 5_000
    # Reads of one collection at the same time, and writes.
    concurrent: int = 1_000
    # Keys in the metadata of a document.
    keys: int = 75
    # Conditions of a search. Chroma fails at about 1,200.
    predicates: int = 1_000
    # Bytes.
    key_bytes: int = 1_000
    value_bytes: int = 2**20
    document_bytes: int = 2**24
    id_bytes: int = 2_000
    name_bytes: int = 512


# https://docs.trychroma.com/cloud/quotas-limits, read in 2026.
CLOUD = Quotas(
    records=300,
    results=300,
    concurrent=10,
    keys=32,
    predicates=8,
    key_bytes=36,
    value_bytes=4_096,
    document_bytes=16_384,
    id_bytes=128,
    name_bytes=128,
)
# A document has this many keys besides the values of raw_data.
LEAST_KEYS = 12


def current() -> Quotas:
    """The quotas that CHROMA_QUOTAS names. Raises ImproperlyConfigured."""
    return parse(settings.CHROMA_QUOTAS)


@lru_cache(maxsize=8)
def parse(text: str) -> Quotas:
    """Nothing for a server of our own, `cloud`, or a JSON object with bounds other than those of `cloud`.

    Raises ImproperlyConfigured.
    """
    if not text:
        return Quotas()
    if text == "cloud":
        return CLOUD
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not given.keys() <= set(Quotas._fields):
        names = ", ".join(Quotas._fields)
        raise ImproperlyConfigured(
            f"CHROMA_QUOTAS is {text!r}. Write cloud, or a JSON object with some of: {names}."
        )
    wrong = [name for name, value in given.items() if type(value) is not int or value < 1]
    if wrong:
        raise ImproperlyConfigured(f"CHROMA_QUOTAS: {', '.join(wrong)} must be a whole number above 0.")
    quotas = CLOUD._replace(**given)
    if quotas.keys < LEAST_KEYS:
        raise ImproperlyConfigured(f"CHROMA_QUOTAS: a document of the index needs {LEAST_KEYS} keys.")
    return quotas


def cut_to_bytes(text: str, most: int) -> str:
    """The beginning of the text that takes at most so many bytes."""
    return text if len(text) * 4 <= most else text.encode()[:most].decode(errors="ignore")
