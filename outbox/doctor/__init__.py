"""The doctor: compares what the outbox needs with what it finds, and says how to repair it."""

from outbox.doctor.diagnosis import diagnose
from outbox.doctor.finding import Finding

__all__ = ["Finding", "diagnose"]
