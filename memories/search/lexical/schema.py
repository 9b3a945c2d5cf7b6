"""What PostgreSQL stores for the lexical ranking: the terms of every memory, written by triggers.

Triggers write the terms in the transaction of the row, whoever writes it and how. So terms are never stale, and never
missing after a bulk insert or a line of SQL. A change of how words become terms needs a migration that runs
CREATE_FUNCTIONS and then FILL, because old and new terms do not match each other.

    memory_terms: a row for each memory, with its tenant
        keys    its distinct terms as hashes, ascending; the GIN index over them is the inverted index
        counts  how often each stands in the memory, in the order of keys
        length  the sum of counts
    memory_terms_sample: a row for each term of one memory in 32, to estimate how common a term is
    memory_terms_secret: one random number, made when the tables are, from which all hashes are

The alternatives, tried with 100,000 memories of 27 terms. A table with a row for each term of each memory took 350 MB
instead of 35, and three times as long to write. A GIN index over a tsvector cannot be read by tenant, and ranking by a
common word visits every row that has it. The index of pgvector's sparsevec is approximate, and its scan reads the whole
tenant. The terms have a table of their own because memory_logs is updated several times for each memory (embedded,
indexed), and each update would enter all its terms into the index again.
"""

import json
import unicodedata
from pathlib import Path

from memories.embeddings import stop_words

SQL = Path(__file__).with_name("sql")

# PostgreSQL has a configuration for each of these. Russian endings are near enough to Ukrainian ones.
CONFIGURED = {"armenian", "tamil", *stop_words.BY_LANGUAGE} - {
    "czech",
    "hebrew",
    "polish",
    "ukrainian",
    "vietnamese",
}
INSTEAD = {"ukrainian": "russian"}
# The characters of all scripts but ASCII, where signs are looked for.
SCRIPTS = range(0x80, 0x10000)
LETTERLIKE_SIGNS = "\u02bc"
# Ends of English words that are words of other languages.
SHORTENED = {"d", "ll", "m", "re", "s", "t", "ve"}


def _functions() -> str:
    """Return functions.sql with the stop words: a JSON object of folded words and their languages."""
    languages = {
        word: found
        for word, names in stop_words.written().items()
        if (found := sorted({INSTEAD.get(name, name) for name in names} & _told_by(word)))
    }
    text = (SQL / "functions.sql").read_text()
    text = text.replace("{stop_words}", json.dumps(languages, ensure_ascii=False, separators=(",", ":")))
    return text.replace("{languages}", "{" + ",".join(sorted(CONFIGURED)) + "}").replace("{signs}", _signs())


def _signs() -> str:
    """Return the signs of all scripts beyond ASCII, as the ranges of a regular expression.

    Signs are what Unicode calls punctuation, symbols, separators and formats, and the apostrophe of Ukrainian.
    """
    ranges: list[list[int]] = []
    is_open = False
    for code in SCRIPTS:
        kind = unicodedata.category(chr(code))[0]
        if kind == "C" and unicodedata.category(chr(code)) not in ("Cc", "Cf"):
            continue  # not in use, so a range may go over it
        if not (kind in "PSZC" or chr(code) in LETTERLIKE_SIGNS):
            is_open = False
        elif is_open:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
            is_open = True
    return "".join(rf"\u{first:04x}-\u{last:04x}" for first, last in ranges)


def _told_by(word: str) -> set[str]:
    return CONFIGURED if word in SHORTENED else {"english", *CONFIGURED}


CREATE_TABLES = (SQL / "tables.sql").read_text()
CREATE_FUNCTIONS = (SQL / "conversations.sql").read_text() + _functions()
CREATE_TRIGGERS = (SQL / "triggers.sql").read_text()
FILL = (SQL / "fill.sql").read_text()
DROP = (SQL / "drop.sql").read_text()

CREATE = CREATE_TABLES + CREATE_FUNCTIONS + CREATE_TRIGGERS + FILL
