"""Search by words: BM25 in PostgreSQL, always as fresh as the rows.

See docs/explanation/search.md.
"""

from memories.search.lexical.holding import memories_with_all_words
from memories.search.lexical.ranking import Ranked, lexical_search

__all__ = ["Ranked", "lexical_search", "memories_with_all_words"]
