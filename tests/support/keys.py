"""API keys, clients that use them, and the body of a request that stores a memory."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from memories.models import APIKey


def new_key(user_id: str, project_id: str = "", *, days: int | None = None, may_erase: bool = True) -> str:
    """An API key. It expires in `days` days (negative: it has expired), or never."""
    expiry = None if days is None else timezone.now() + timedelta(days=days)
    _row, key = APIKey.objects.create_key(
        name="test", user_id=user_id, project_id=project_id, expiry_date=expiry, may_erase=may_erase
    )
    return key


def new_session() -> str:
    """The session key of a superuser who is logged in to the admin."""
    client = Client()
    client.force_login(
        get_user_model().objects.create_superuser(username=f"admin-{uuid4().hex}", password="x")
    )
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def client_with(key: str, scheme: str = "Bearer") -> Client:
    return Client(headers={"Authorization": f"{scheme} {key}"})


def memory(user_id: str, project_id: str, **more: Any) -> dict[str, Any]:
    """A body for POST /memory-logs."""
    return {"user_id": user_id, "project_id": project_id, "task": "Fix the login", "agent": "coder"} | more
