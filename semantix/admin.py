"""One theme for the admin's pages of all apps.

The apps register with Django's own admin, so that `outbox` works in any project. `apply_theme` replaces each registered
page by a subclass that unfold draws. Call it after every app has registered: see `semantix.urls`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from unfold.admin import ModelAdmin, StackedInline, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from semantix.console import tasks
from semantix.console.recorded import Recorded


class ThemedUserAdmin(UserAdmin):  # type: ignore[type-arg]  # takes none at run time
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


# Replacements for pages whose forms need unfold's widgets, and for django-q2's pages, which allow too much.
REPLACEMENTS: dict[type[Any], type[Any]] = {User: ThemedUserAdmin, Group: GroupAdmin, **tasks.PAGES}


def apply_theme(site: admin.AdminSite) -> None:
    """Register each page of `site` again, drawn by unfold. A page that unfold draws already stays as it is."""
    for model, page in list(site._registry.items()):  # noqa: SLF001
        site.unregister(model)
        site.register(model, themed(REPLACEMENTS.get(model, type(page))))
    site.index_title = "Overview"


def themed(page: type[Any]) -> type[Any]:
    """A subclass of a ModelAdmin class that unfold draws, with its inlines."""
    if issubclass(page, ModelAdmin):
        return page
    methods = {
        name: method
        for name in page.readonly_fields
        if isinstance(name, str) and callable(method := getattr(page, name, None))
    }
    changed: dict[str, Any] = {name: computed_once(method) for name, method in methods.items()}
    changed["inlines"] = [themed_inline(inline) for inline in page.inlines]
    return type(page.__name__, (Recorded, page, ModelAdmin), changed)


def computed_once(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The method, called once for a row. unfold asks for the value of a read-only field four times on one page."""

    @wraps(method)
    def cached(page: Any, row: Any) -> Any:
        computed = row.__dict__.setdefault("_admin_values", {})
        if method.__name__ not in computed:
            computed[method.__name__] = method(page, row)
        return computed[method.__name__]

    return cached


def themed_inline(inline: type[Any]) -> type[Any]:
    base = StackedInline if issubclass(inline, admin.StackedInline) else TabularInline
    return inline if issubclass(inline, base) else type(inline.__name__, (inline, base), {})
