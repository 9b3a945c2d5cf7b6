"""Who else is connected to the database."""

from django.db import connection

OTHERS = """
SELECT format('process %s (%s%s, %s)', pid, coalesce(usename, 'unknown'),
              coalesce(', ' || nullif(application_name, ''), ''), coalesce(host(client_addr), 'this machine'))
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY backend_start
"""


def others() -> list[str]:
    """A description of each other session in the database."""
    with connection.cursor() as cursor:
        cursor.execute(OTHERS)
        return [found for (found,) in cursor.fetchall()]
