"""The settings of unfold: the name, the menu and the overview of the admin."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def unfold_settings() -> dict[str, Any]:
    return {
        "SITE_TITLE": "Semantix",
        "SITE_HEADER": "Semantix",
        "SITE_SUBHEADER": "memory for agents",
        "SITE_SYMBOL": "neurology",
        "SHOW_VIEW_ON_SITE": False,
        "STYLES": [_stylesheet],
        "LOGIN": {"form": "semantix.console.login.LoginForm"},
        "DASHBOARD_CALLBACK": "semantix.console.dashboard.context",
        "SIDEBAR": {
            "show_search": False,
            "show_all_applications": False,
            "navigation": [
                _section(
                    "Memories",
                    ("Memories", "memory", "memories_memorylog"),
                    ("Try a search", "search", "admin-search"),
                    ("Conversations", "forum", "memories_conversation"),
                    ("Live updates", "sensors", "admin-live"),
                    ("API keys", "key", "memories_apikey"),
                    ("Erasures", "delete_forever", "memories_erasure"),
                ),
                _section(
                    "Delivery",
                    ("Events", "outbox", "outbox_event"),
                    ("Event types", "category", "outbox_eventtype"),
                    ("Circuits", "electrical_services", "outbox_circuit"),
                    ("Turn buffer", "inbox", "memories_bufferfailover"),
                ),
                _section(
                    "Task queue",
                    ("Scheduled tasks", "schedule", "django_q_schedule"),
                    ("Queued tasks", "pending_actions", "django_q_ormq"),
                    ("Failed tasks", "error", "django_q_failure"),
                    ("Successful tasks", "task_alt", "django_q_success"),
                ),
                _section(
                    "People",
                    ("Users", "person", "auth_user"),
                    ("Groups", "group", "auth_group"),
                    ("Who did what", "history", "outbox_intervention"),
                ),
            ],
        },
    }


def _stylesheet(request: HttpRequest) -> str:
    return static("semantix/admin.css")


def _section(title: str, *items: Any) -> dict[str, Any]:
    return {"title": title, "separator": True, "items": [_item(*item) for item in items]}


def _item(title: str, icon: str, page: str) -> dict[str, Any]:
    """`page` is a model as app_model, or the name of a URL."""
    name = page if page.startswith("admin-") else f"admin:{page}_changelist"
    return {"title": title, "icon": icon, "link": reverse_lazy(name)}
