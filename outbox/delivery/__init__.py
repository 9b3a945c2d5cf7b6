"""Delivery: a worker runs the handlers and records the outcomes."""
