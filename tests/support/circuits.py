"""An unavailable dependency."""

import outbox
from outbox.models import Circuit
from outbox.queue import circuits


def open_oven() -> None:
    circuits.open_circuit(outbox.Unavailable("oven", "cold"))


def end_pause() -> None:
    Circuit.objects.update(open_until="2000-01-01T00:00Z")
