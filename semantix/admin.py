"""The admin's last word: pages of all apps in one theme.

The apps register with the stock admin, which keeps `outbox` usable anywhere; here each registered page is given
unfold's looks on top of what it does.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django_q.models import Schedule
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from semantix.console.tasks import NarrowScheduleAdmin


class ThemedUserAdmin(UserAdmin[User]):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


# Pages whose forms need unfold's own widgets, or that another app lays out badly.
OWN: dict[type[Any], type[Any]] = {User: ThemedUserAdmin, Group: GroupAdmin, Schedule: NarrowScheduleAdmin}


def themed(page: type[Any]) -> type[Any]:
    """The same page, drawn by unfold."""
    return page if issubclass(page, ModelAdmin) else type(page.__name__, (page, ModelAdmin), {})


def theme_all(site: admin.AdminSite) -> None:
    for model, page in list(site._registry.items()):  # noqa: SLF001
        site.unregister(model)
        site.register(model, themed(OWN.get(model, type(page))))


theme_all(admin.site)
admin.site.index_title = "Overview"
