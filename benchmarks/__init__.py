"""Measurements of the service and its parts on this machine, compared with named peers."""
