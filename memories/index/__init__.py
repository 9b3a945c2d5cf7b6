"""The search index: one Chroma collection per tenant, derived from PostgreSQL."""
