"""The cursor of a list of tenants: the last tenant of a page, as text for a URL."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from memories.tenants import Tenant


def cursor_of(tenant: Tenant) -> str:
    """The cursor of the page after this tenant."""
    return urlsafe_b64encode(json.dumps(tenant).encode()).decode()


def tenant_of(cursor: str) -> Tenant:
    """The tenant of a cursor. Raises ValueError for text that is no cursor."""
    match json.loads(urlsafe_b64decode(cursor.encode())):
        case [str(user_id), str(project_id)] if "\0" not in user_id + project_id:
            (user_id + project_id).encode()  # no lone surrogate, which PostgreSQL does not take
            return Tenant(user_id, project_id)
    raise ValueError("not a cursor")
