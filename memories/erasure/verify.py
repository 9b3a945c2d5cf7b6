"""Whether anything that was erased is back: after a restore, say."""

from django.db import connection

# Memories and versions that an erasure covers although it is done.
BACK = """
SELECT DISTINCT e.id FROM erasures e JOIN {rows} m
  ON m.user_id = e.user_id AND (e.project_id = '' OR m.project_id = e.project_id) AND m.{id} <= e.through_id
WHERE e.status = 'done'
  AND (m.{id} = ANY (e.memory_log_ids) OR (e.memory_log_ids = '{{}}' AND e.conversation_ids = '{{}}'))
"""
QUERY = " UNION ".join(
    BACK.format(rows=rows, id=id) for rows, id in (("memory_logs", "id"), ("memory_versions", "pgh_obj_id"))
)


def came_back() -> list[int]:
    """The ids of the erasures of which PostgreSQL holds memories or versions again.

    What is back in Chroma alone is an orphan: `verify_index` finds it by itself.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{QUERY} ORDER BY 1")
        return [id for (id,) in cursor.fetchall()]
