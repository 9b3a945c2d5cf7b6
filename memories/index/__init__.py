"""The search index: one Chroma collection a tenant, made to look like PostgreSQL."""
