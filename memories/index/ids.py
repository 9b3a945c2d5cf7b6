"""Names in the index. Injective: two tenants never share a collection."""

import hashlib
import re

from memories.tenants import Tenant

PREFIX = "semantix_memories"
# No underscore in either id, so that the ones between them can only be ours. A name must end with a letter or
# digit and hold no "..": ids with dots are left to the digest, and a dot can then only be ours, too.
_PLAIN = re.compile(r"[a-zA-Z0-9-]*[a-zA-Z0-9]")
_LONGEST = 512


def collection_name(tenant: Tenant, suffix: str = "") -> str:
    """`semantix_memories_{user_id}_{project_id}` where that is unambiguous, else a digest of both ids.

    A tenant's first collection has the plain name; each later one a suffix of its own (letters and digits).
    """
    ending = f".{suffix}" if suffix else ""
    name = f"{PREFIX}_{tenant.user_id}_{tenant.project_id}"
    if all(_PLAIN.fullmatch(part) for part in tenant) and len(name + ending) <= _LONGEST:
        return name + ending
    # The lengths keep ("ab", "c") and ("a", "bc") apart; the "-" keeps digests and plain names apart.
    told_apart = "".join(f"{len(part)}:{part}" for part in tenant)
    return f"{PREFIX}-{hashlib.sha256(told_apart.encode()).hexdigest()}{ending}"


def document_id(memory_id: int, tenant: Tenant) -> str:
    return f"memory_{memory_id}_{tenant.user_id}_{tenant.project_id}"


def memory_id(document: str) -> int | None:
    """The number in `memory_{id}_{user_id}_{project_id}`; None when that is not what it looks like."""
    number = document.removeprefix("memory_").partition("_")[0]
    return int(number) if number.isdecimal() and len(number) < 19 else None
