"""A new tenant for each test, because Chroma keeps its collections from test to test."""

from uuid import uuid4

from memories.tenants import Tenant


def new_tenant() -> Tenant:
    return Tenant(f"user-{uuid4().hex[:12]}", "project")
