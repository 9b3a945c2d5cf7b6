"""The versions of django-q2 whose internals this app was tested with.

django-q2 has no extension points for what `outbox.cluster` and `outbox.relay` change, so they replace names in it
(`ipc.install`) and rely on its internal order. tests/outbox/unit/test_django_q2_contract.py tests each of these names.
"""

import django_q

# 1.11.0 and 1.11.1 differ in one function only (`cluster.get_mp_context`, on systems without fork).
TESTED = frozenset({(1, 11)})


def installed() -> str:
    """The installed version, for example "1.11.1"."""
    return ".".join(map(str, django_q.VERSION))


def is_tested() -> bool:
    """Whether the installed version belongs to a tested series. Patch releases of a tested series count as tested."""
    return tuple(django_q.VERSION[:2]) in TESTED


def tested() -> str:
    """The tested series for a message, for example "1.11.x"."""
    return ", ".join(f"{major}.{minor}.x" for major, minor in sorted(TESTED))
