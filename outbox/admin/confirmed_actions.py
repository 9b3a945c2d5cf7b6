"""Actions on many rows: first a page that says exactly how many and what will happen, then the deed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

Rows = QuerySet[Any]


@dataclass(frozen=True, kw_only=True)
class ConfirmedAction:
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

    @property
    def action(self) -> str:
        return self.name.lower()

    def count(self, number: int) -> str:
        return f"{number} {self.noun[number != 1]}"


def confirmed(deed: ConfirmedAction) -> Callable[..., HttpResponse | None]:
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
        page = _page_it_came_from(model_admin, request)
        return HttpResponseRedirect(page) if page else None

    action.__name__ = deed.action
    return action


def buttons(row: Model, deeds: Sequence[ConfirmedAction], site: str) -> SafeString:
    """For a row's own page: its form is sent to the list instead, where the action asks first."""
    context = {
        "row": row,
        "deeds": deeds,
        "list": _url(row, "changelist", site),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
    }
    return render_to_string("admin/outbox/buttons.html", context)


def _page_it_came_from(model_admin: Any, request: HttpRequest) -> str | None:
    """The page of the only row chosen, where a button on it was pressed."""
    chosen = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    if "from_its_page" not in request.POST or len(chosen) != 1:
        return None
    return _url(model_admin.model, "change", model_admin.admin_site.name, quote(chosen[0]))


def _url(model: Model | type[Model], page: str, site: str, *args: str) -> str:
    opts = model._meta  # noqa: SLF001
    return reverse(f"{site}:{opts.app_label}_{opts.model_name}_{page}", args=args)


def _ask(
    model_admin: Any, request: HttpRequest, deed: ConfirmedAction, count: int, *, missing: bool
) -> HttpResponse:
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
        "page": _page_it_came_from(model_admin, request),
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
