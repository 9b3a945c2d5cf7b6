"""Admin actions on many rows. A page first says how many rows will change and how; the second click does it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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

from outbox.operations.interventions import record

Rows = QuerySet[Any]


@dataclass(frozen=True, kw_only=True)
class ConfirmedAction:
    """An action that asks before it changes rows."""

    name: str
    # Follows a number of rows on the page that asks: "will wait for delivery again".
    consequence: str
    # Follows a number of rows in the message at the end: "retried".
    done: str
    # Which of the selected rows the action can change.
    eligible: Callable[[Rows], Rows]
    # Changes these rows for a user (its name) with a reason, and with the chosen value if there are `choices`. Returns
    # how many rows it changed.
    act: Callable[..., int]
    asks_reason: bool = False
    # What the person chooses from, as (value, label): for how long.
    choices: tuple[tuple[str, str], ...] = ()
    # `act` records who did it and why (`Intervention`). Else that is done for it.
    is_recorded: bool = False
    # What a person needs to run it: Django's permission on the model, or the X of the page's `has_X_permission`.
    permission: str = "change"
    # The name of the URL of the page that follows; empty: the list, or the row's own page.
    next_page: str = ""
    # Singular and plural.
    noun: tuple[str, str] = ("event", "events")

    @property
    def label(self) -> str:
        """On the button: the dots say that a question follows."""
        return f"{self.name} …"

    @property
    def code(self) -> str:
        """The action's name in a form."""
        return self.name.lower().replace(" ", "_")

    def count(self, number: int) -> str:
        return f"{number} {self.noun[number != 1]}"


def confirmed(action: ConfirmedAction) -> Callable[..., HttpResponse | None]:
    """The function that a ModelAdmin lists in `actions`."""

    @admin.action(description=action.label, permissions=[action.permission])
    def run(model_admin: Any, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        # By primary key: the ordering and the joins of the list would only slow the change down.
        rows = action.eligible(model_admin.model.objects.filter(pk__in=queryset.order_by().values("pk")))
        reason = request.POST.get("reason", "").strip()
        if "confirmed" not in request.POST or (action.asks_reason and not reason):
            return _ask(model_admin, request, action, rows.count(), missing="confirmed" in request.POST)
        first_two = list(rows[:2])
        by = request.user.get_username()
        chosen = _chosen(request, action)
        count = action.act(rows, by, reason, *(value for value, _ in chosen))
        length = "".join(f" {label}" for _, label in chosen)
        message = f"{action.count(count)} {action.done}{length}{f': {reason}' if reason else ''}"
        _log(request, model_admin.model, first_two, message)
        if not action.is_recorded:
            only = first_two[0] if len(first_two) == 1 else None
            record(action.name.lower(), subject(only) if only else action.count(count), by=by, reason=reason)
        messages.success(request, f"{message}.")
        page = reverse(action.next_page) if action.next_page else page_of_the_only_row(model_admin, request)
        return HttpResponseRedirect(page) if page else None

    run.__name__ = action.code
    return run


def _chosen(request: HttpRequest, action: ConfirmedAction) -> list[tuple[str, str]]:
    """The choice of the person, or the first one; empty if the action has none."""
    wanted = request.POST.get("choice")
    return [choice for choice in action.choices if choice[0] == wanted] or list(action.choices[:1])


def subject(row: Model) -> str:
    """A row as the record of decisions names it: "schedule outbox_prune", "user olga", "memory 42".

    By its name or its key, not by its text: a text may have to be forgotten, and the record stays.
    """
    names = (getattr(row, name, None) for name in ("name", "username"))
    name = next((name for name in names if name), row.pk)
    return f"{row._meta.verbose_name} {name}"  # noqa: SLF001


class Button(Protocol):
    """An action of a list that the page of a single row offers too. `code` is its name in a form."""

    @property
    def label(self) -> str: ...

    @property
    def code(self) -> str: ...


def buttons(row: Model, actions: Sequence[Button], site: str, *, lead: bool = True) -> SafeString:
    """Buttons for the row's own page, one for each action. They send the page's form to the list's action.

    `lead`: the first action is the best one, and its button is filled.
    """
    context = {
        "row": row,
        "actions": actions,
        "lead": lead,
        "list": _url(row, "changelist", site),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
    }
    return render_to_string("admin/outbox/buttons.html", context)


def page_of_the_only_row(model_admin: Any, request: HttpRequest) -> str | None:
    """The page of the row, if the action was started by a button on that page."""
    chosen = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    if "from_its_page" not in request.POST or len(chosen) != 1:
        return None
    return _url(model_admin.model, "change", model_admin.admin_site.name, quote(chosen[0]))


def _url(model: Model | type[Model], page: str, site: str, *args: str) -> str:
    opts = model._meta  # noqa: SLF001
    return reverse(f"{site}:{opts.app_label}_{opts.model_name}_{page}", args=args)


def _ask(
    model_admin: Any, request: HttpRequest, action: ConfirmedAction, count: int, *, missing: bool
) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": action.name,
        "opts": model_admin.opts,
        "confirmed_action": action,
        "count": count,
        "counted": action.count(count),
        "reason_is_missing": missing,
        "action": request.POST["action"],
        "select_across": request.POST.get("select_across", "0"),
        "chosen": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "page": page_of_the_only_row(model_admin, request),
        "media": model_admin.media,
    }
    return TemplateResponse(request, "admin/outbox/confirm.html", context)


def _log(request: HttpRequest, model: type[Model], rows: list[Model], message: str) -> None:
    """Write one entry to the admin's log. It is in the row's own history if the action changed a single row."""
    only = rows[0] if len(rows) == 1 else None
    LogEntry.objects.create(
        user_id=int(request.user.pk or 0),
        content_type=ContentType.objects.get_for_model(model),
        object_id=only and only.pk,
        object_repr=subject(only) if only else str(model._meta.verbose_name_plural),  # noqa: SLF001
        action_flag=CHANGE,
        change_message=message,
    )
