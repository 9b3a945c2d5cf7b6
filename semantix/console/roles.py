"""The groups `viewer` and `operator`, which every migrate creates.

A viewer reads every page of memories and delivery and changes nothing. An operator also decides: retries, pauses,
holds, indexes again. Keys, people and erasure stay with superusers, and with those to whom they give the permissions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import connection

VIEWED = {
    "memories": ("memorylog", "conversation", "bufferfailover", "erasure"),
    "outbox": ("event", "circuit", "eventtype", "intervention"),
    "django_q": ("schedule", "success", "failure", "ormq"),
}
# What an operator decides about. The pages allow no more than their actions.
CHANGED = {
    "memories": ("memorylog", "conversation"),
    "outbox": ("event", "circuit", "eventtype"),
    "django_q": ("schedule",),
}
VIEWER, OPERATOR = "viewer", "operator"


def ensure_roles(**_: Any) -> None:
    """Create the groups, and give them the permissions that they lack. What a superuser added to them stays."""
    # `migrate outbox` alone may run before these have their tables.
    if not {"auth_group", "auth_permission", "django_content_type"} <= set(
        connection.introspection.table_names()
    ):
        return
    for label in VIEWED:
        # The signal that creates the permissions of these apps may come later than this one.
        create_permissions(apps.get_app_config(label), verbosity=0)
    viewed = _permissions("view", VIEWED)
    _group(VIEWER).permissions.add(*viewed)
    _group(OPERATOR).permissions.add(*viewed, *_permissions("change", CHANGED))


def _group(name: str) -> Group:
    group, _created = Group.objects.get_or_create(name=name)
    return group


def _permissions(action: str, models: Mapping[str, Sequence[str]]) -> list[Permission]:
    names = [(label, f"{action}_{model}") for label, found in models.items() for model in found]
    return [
        Permission.objects.get(content_type__app_label=label, codename=codename) for label, codename in names
    ]
