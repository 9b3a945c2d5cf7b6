"""Finding memories by their words: BM25 in PostgreSQL, as fresh as the rows themselves.

See docs/explanation/search.md.
"""

from memories.search.lexical.ranking import Ranked, lexical_search

__all__ = ["Ranked", "lexical_search"]
