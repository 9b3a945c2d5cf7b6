"""Measurements of the service and its parts, beside named peers, on this machine."""
