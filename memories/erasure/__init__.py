"""Erasure: forget a user, a project, memories or conversations in every store, and prove it."""
