"""Names in Chroma: valid whatever the ids are, and never the same for two tenants."""

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from memories.index.ids import collection_name, document_id
from memories.tenants import Tenant

# What Chroma accepts, less what looks like an IP address, which our prefix rules out.
VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")

# Ids as they come, and ids made of what could run into each other.
ids = st.text(min_size=1, max_size=600) | st.text(alphabet="ab_-.1", min_size=1, max_size=6)
tenants = st.builds(Tenant, ids, ids)
suffixes = st.text(alphabet="0123456789abcdef", min_size=8, max_size=8) | st.just("")


@given(tenants, suffixes)
def test_a_name_is_valid(tenant: Tenant, suffix: str) -> None:
    name = collection_name(tenant, suffix)
    assert VALID.fullmatch(name)
    assert ".." not in name


@given(tenants, tenants, suffixes, suffixes)
@example(Tenant("a_b", "c"), Tenant("a", "b_c"), "", "")
@example(Tenant("a", "b.0"), Tenant("a", "b"), "", "0")
@example(Tenant("A", "b"), Tenant("a", "b"), "", "")
def test_two_tenants_never_share_a_name(one: Tenant, other: Tenant, suffix: str, other_suffix: str) -> None:
    assume(one != other)
    assert collection_name(one, suffix) != collection_name(other, other_suffix)


@given(tenants, suffixes)
def test_a_later_collection_of_a_tenant_has_another_name(tenant: Tenant, suffix: str) -> None:
    assume(suffix)
    assert collection_name(tenant, suffix) != collection_name(tenant)


def test_plain_ids_stand_in_the_name() -> None:
    assert collection_name(Tenant("alice", "web-shop")) == "semantix_memories_alice_web-shop"
    assert document_id(7, Tenant("alice", "web-shop")) == "memory_7_alice_web-shop"
