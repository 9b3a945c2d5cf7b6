"""API keys, and which tenants each opens."""
