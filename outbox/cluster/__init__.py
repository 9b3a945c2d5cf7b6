"""Replacements and extensions of django-q2's cluster, so that a dead process blocks no other process."""
