"""Memories in the light of what was written just before and after them.

A memory is often a line of something longer: a turn of a conversation, a step of a task. The answer to a question
then stands beside the line that has its words. So each memory lends part of its score to its neighbours, those
next to it with the same task and date. A memory with a task of its own has none, and nothing changes for it.
"""

from collections import defaultdict

from django.db import connection

from memories.filters import CONDITION, Filters
from memories.fusion import best_first
from memories.models import Tenant

# What the next neighbour gets of a score, and the one after it.
SHARES = (0.5, 0.25)
# Others may write at the same time: among how many memories before and after a neighbour is looked for.
REACH = 8
# The best memories lend; what lower ones would lend moves nothing.
LENDERS = 30

# What is around is read from the index alone, which keeps the planner on the tenant's own.
AROUND = """
    SELECT id FROM memory_logs WHERE user_id = %(user_id)s AND project_id = %(project_id)s
    AND id {side} lender.id ORDER BY id {order} LIMIT %(reach)s
"""
NEIGHBOURS = f"""
SELECT lender.id, near.id, near.step
FROM memory_logs AS lender CROSS JOIN LATERAL (
    SELECT id, row_number() OVER (PARTITION BY id < lender.id ORDER BY abs(id - lender.id)) AS step
    FROM (
        ({AROUND.format(side="<", order="DESC")}) UNION ALL ({AROUND.format(side=">", order="ASC")})
    ) AS around JOIN memory_logs AS one USING (id)
    WHERE one.task = lender.task AND one.date = lender.date
) AS near JOIN memory_logs AS m ON m.id = near.id
WHERE lender.id = ANY(%(lenders)s) AND near.step <= %(steps)s AND {CONDITION}
"""


def with_neighbours(scores: dict[int, float], tenant: Tenant, filters: Filters) -> dict[int, float]:
    """The scores with what neighbours lend to each other; neighbours that had no score come in, too."""
    lent: dict[int, float] = defaultdict(float, scores)
    parameters = {
        **tenant._asdict(),
        **filters.parameters(),
        "lenders": best_first(scores)[:LENDERS],
        "reach": REACH,
        "steps": len(SHARES),
    }
    with connection.cursor() as cursor:
        cursor.execute(NEIGHBOURS, parameters)
        for lender, neighbour, step in cursor.fetchall():
            lent[neighbour] += SHARES[step - 1] * scores[lender]
    return dict(lent)
