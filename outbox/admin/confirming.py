"""Actions on many rows: first a page that says exactly how many and what will happen, then the deed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

Rows = QuerySet[Any]


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What an action does: to which of the chosen, and the deed itself, which returns how many it changed."""

    name: str
    # "would be retried", after a number of rows.
    consequence: str
    # "retried", after a number of rows.
    done: str
    eligible: Callable[[Rows], Rows]
    act: Callable[[Rows, str, str], int]
    asks_reason: bool = False
    noun: tuple[str, str] = ("event", "events")

    def count(self, number: int) -> str:
        return f"{number} {self.noun[number != 1]}"


def confirmed(deed: Deed) -> Callable[..., HttpResponse | None]:
    """The admin action of a deed."""

    @admin.action(description=f"{deed.name} …", permissions=["change"])
    def action(model_admin: Any, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        # The changelist's own ordering and joins are of no use here.
        rows = deed.eligible(model_admin.model.objects.filter(pk__in=queryset.order_by().values("pk")))
        reason = request.POST.get("reason", "").strip()
        if "confirmed" not in request.POST or (deed.asks_reason and not reason):
            return _ask(model_admin, request, deed, rows.count(), missing="confirmed" in request.POST)
        chosen = list(rows[:2])
        count = deed.act(rows, request.user.get_username(), reason)
        message = f"{deed.count(count)} {deed.done}{f': {reason}' if reason else ''}"
        _log(request, model_admin.model, chosen, message)
        messages.success(request, f"{message}.")
        return None

    action.__name__ = deed.name.lower()
    return action


def _ask(model_admin: Any, request: HttpRequest, deed: Deed, count: int, *, missing: bool) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": deed.name,
        "opts": model_admin.opts,
        "deed": deed,
        "count": count,
        "counted": deed.count(count),
        "reason_is_missing": missing,
        "action": request.POST["action"],
        "select_across": request.POST.get("select_across", "0"),
        "chosen": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "media": model_admin.media,
    }
    return TemplateResponse(request, "admin/outbox/confirm.html", context)


def _log(request: HttpRequest, model: type[Model], chosen: list[Model], message: str) -> None:
    """One entry for all of them, in the history of the row if it is one.

    Who did what to each event stands beside it as an intervention, too.
    """
    only = chosen[0] if len(chosen) == 1 else None
    LogEntry.objects.create(
        user_id=int(request.user.pk or 0),
        content_type=ContentType.objects.get_for_model(model),
        object_id=only and only.pk,
        object_repr=str(only or model._meta.verbose_name_plural),  # noqa: SLF001
        action_flag=CHANGE,
        change_message=message,
    )
