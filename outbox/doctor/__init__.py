"""The doctor: what the outbox needs to work, what it finds instead, and what to do about it."""

from outbox.doctor.diagnosis import diagnose
from outbox.doctor.finding import Finding

__all__ = ["Finding", "diagnose"]
