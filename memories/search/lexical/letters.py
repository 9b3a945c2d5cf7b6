"""What PostgreSQL takes for letters, which its locale decides.

With the locale C it knows the letters of ASCII alone. Then capitals of other letters are not folded (Привет, привет),
and the terms that such a server has written meet nobody's question on another one.
"""

from django.db import connection

from memories.search.lexical.schema import FILL

KNOWS_LETTERS = "SELECT lower('ÄЖ') = 'äж'"
# The terms of the newest memories with other letters than those of ASCII, compared with what they would be now.
IS_STALE = """
SELECT EXISTS (
    SELECT FROM (
        SELECT * FROM (SELECT * FROM memory_logs ORDER BY id DESC LIMIT 10000) AS newest
        WHERE octet_length(task || raw_data::text) <> char_length(task || raw_data::text) LIMIT 100
    ) AS m JOIN memory_terms AS t ON t.memory_id = m.id, LATERAL memory_terms_of(
        memory_term_seed((SELECT secret FROM memory_terms_secret), m.user_id, m.project_id),
        m.task, m.agent, m.date, m.raw_data
    ) AS fresh
    WHERE fresh.keys <> t.keys
)
"""


def knows_letters() -> bool:
    """Tell whether the database's locale knows letters beyond ASCII."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWS_LETTERS)
        return bool(cursor.fetchone()[0])


def refresh_terms() -> bool:
    """Write the terms of all memories again where another server wrote them in its locale. Returns whether it did.

    Nobody else may use the database: the tables of terms are empty meanwhile. 100,000 memories take a minute or two.
    """
    with connection.cursor() as cursor:
        cursor.execute(IS_STALE)
        (stale,) = cursor.fetchone()
        if stale:
            cursor.execute(FILL)
    return bool(stale)
