"""Django system checks of the settings, which run before anything starts."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from memories.embeddings import MisconfiguredError, get_backend
from outbox.operations.problems import Problem, problem


@register()
def embedding_backend(**_: Any) -> list[CheckMessage]:
    """memories.E001: the embedding backend cannot be created."""
    try:
        get_backend()
    except MisconfiguredError as error:
        return [
            Error(
                error.reason, hint="docs/how-to/choose-an-embedder.md lists the backends.", id="memories.E001"
            )
        ]
    return []


@register()
def throttle_rate(**_: Any) -> list[CheckMessage]:
    """memories.E002: THROTTLE_RATE is not a rate."""
    from memories.api.throttling import KeyThrottle  # its models need the apps loaded

    try:
        KeyThrottle()
    except (ValueError, KeyError):
        problem = f"THROTTLE_RATE is {settings.THROTTLE_RATE!r}, which is not a rate."
        return [
            Error(
                problem, hint="Write requests per second, minute, hour or day: 600/min.", id="memories.E002"
            )
        ]
    return []


@register()
def chroma_quotas(**_: Any) -> list[CheckMessage]:
    """memories.E006: CHROMA_QUOTAS cannot be read."""
    from memories.index import quotas

    try:
        quotas.current()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="docs/how-to/scale.md explains the quotas.", id="memories.E006")]
    return []


@problem
def locale_without_letters() -> Iterator[Problem]:
    """The overview, outbox_status and outbox_doctor say that the database was made with the locale C."""
    from memories.search.lexical.letters import knows_letters

    if not knows_letters():
        yield Problem(
            kind="settings",
            what="The locale of the database (C) knows no letters but those of ASCII",
            holds_up="Searches by words tell capitals of other letters from small ones: привет does not find Привет.",
            by_itself="Move the data to a database with a locale of UTF-8: docs/how-to/back-up.md#another-locale.",
        )


@problem
def refused_embedders() -> Iterator[Problem]:
    """The overview, outbox_status and outbox_doctor say which embedder the settings refuse."""
    from memories.index import generations  # its models need the apps loaded

    try:
        get_backend()
    except MisconfiguredError as error:
        yield Problem(
            kind="settings",
            what=f"The settings of this process refuse the embedder ({error.reason})",
            holds_up="New memories are stored and found by their words, and wait to be embedded.",
            by_itself="They go on when the settings are right and every process is restarted.",
        )
        return
    for backend, model, reason, tenants in generations.refused():
        whose = "1 tenant" if tenants == 1 else f"{tenants:,} tenants"
        yield Problem(
            kind="settings",
            what=f"The settings of this process refuse the former embedder {backend}, {model}, of {whose} "
            f"({reason.rstrip('.')})",
            holds_up="Their new memories do not wait: they are embedded by the model in the settings.",
            by_itself="The tenants move to that model in the background. Until then their searches compare what has "
            "moved, and words.",
        )
