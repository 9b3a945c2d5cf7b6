"""API keys, and the tenants that each key opens."""
