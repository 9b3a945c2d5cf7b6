"""Names in the index. They are injective: two tenants never share a collection."""

import hashlib
import re

from memories.index import quotas
from memories.tenants import Tenant

PREFIX = "semantix_memories"
# Neither id has an underscore, so the underscores between them can only be ours. Chroma requires that a name ends
# with a letter or digit and has no "..". Ids with dots therefore use the digest, and a dot can only be ours, too.
_PLAIN = re.compile(r"[a-zA-Z0-9-]*[a-zA-Z0-9]")
# A hosted Chroma allows shorter names; those of two servers need not be the same.


def collection_name(tenant: Tenant, suffix: str = "") -> str:
    """Return `semantix_memories_{user_id}_{project_id}` where that is unambiguous, else a digest of both ids.

    A tenant's first collection has no suffix. Each later one has its own suffix of letters and digits.
    """
    ending = f".{suffix}" if suffix else ""
    name = f"{PREFIX}_{tenant.user_id}_{tenant.project_id}"
    if all(_PLAIN.fullmatch(part) for part in tenant) and len(name + ending) <= quotas.current().name_bytes:
        return name + ending
    # The "-" distinguishes digests from plain names.
    return f"{PREFIX}-{_digest(tenant)}{ending}"


def document_id(memory_id: int, tenant: Tenant) -> str:
    """Return `memory_{id}_{user_id}_{project_id}`, or a digest of both ids where the server takes no id so long."""
    id = f"memory_{memory_id}_{tenant.user_id}_{tenant.project_id}"
    # Four bytes a character at most. Most ids are short, and this runs for each document.
    most = quotas.current().id_bytes
    if len(id) * 4 <= most or len(id.encode()) <= most:
        return id
    return f"memory_{memory_id}_{_digest(tenant)}"


def _digest(tenant: Tenant) -> str:
    # The lengths distinguish ("ab", "c") from ("a", "bc").
    distinct = "".join(f"{len(part)}:{part}" for part in tenant)
    return hashlib.sha256(distinct.encode()).hexdigest()


def memory_id(document: str) -> int | None:
    """Return the id in `memory_{id}_{user_id}_{project_id}`; None for a string of another form."""
    number = document.removeprefix("memory_").partition("_")[0]
    return int(number) if number.isdecimal() and len(number) < 19 else None
