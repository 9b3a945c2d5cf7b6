"""What PostgreSQL keeps for the lexical ranking: the terms of every memory, written by triggers.

Triggers, so that the terms are of the same transaction as the row, whoever wrote it and how: never stale,
never missing after a bulk insert or a line of SQL. Who changes how words become terms writes a migration that
runs CREATE_FUNCTIONS again and then FILL: terms of two kinds do not meet.

    memory_terms: a row a memory
        keys    its distinct terms as hashes, ascending; the GIN index over them is the inverted index
        counts  how often each stands in the memory, in the order of keys
        length  the sum of counts
    memory_terms_sample: a row for each term of every 32nd memory, to estimate how common a term is

Why so. Tried with 100,000 memories of 27 terms: a table with a row for each term of each memory took 350 MB
against 35 and three times as long to write. A tsvector under GIN cannot be read a tenant at a time, and every
row of a common word is visited to rank by it. Of pgvector's sparsevec the index is approximate and the scan
reads the whole tenant. The terms have a table of their own because memory_logs is updated several times a
memory (embedded, indexed), and each such update would enter all of its terms into the index anew.
"""

from pathlib import Path

SQL = Path(__file__).with_name("sql")

CREATE_TABLES = (SQL / "tables.sql").read_text()
CREATE_FUNCTIONS = (SQL / "functions.sql").read_text()
CREATE_TRIGGERS = (SQL / "triggers.sql").read_text()
FILL = (SQL / "fill.sql").read_text()
DROP = (SQL / "drop.sql").read_text()

CREATE = CREATE_TABLES + CREATE_FUNCTIONS + CREATE_TRIGGERS + FILL
