"""Middleware around every request: the access log and the trace."""
