"""Tenants of a test's own: Chroma keeps its collections from test to test, so no two share one."""

from uuid import uuid4

from memories.tenants import Tenant


def new_tenant() -> Tenant:
    return Tenant(f"user-{uuid4().hex[:12]}", "project")
