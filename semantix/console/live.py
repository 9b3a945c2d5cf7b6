"""The admin's page of live updates: what reaches the index, as it does."""

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from memories.live.reader import TYPES


class Filters(forms.Form):
    """What the page shows of the stream. Its script reads the fields: nothing is sent to the server but a stream."""

    user_id = forms.CharField(label="User id", required=False, widget=UnfoldAdminTextInputWidget)
    project_id = forms.CharField(label="Project id", required=False, widget=UnfoldAdminTextInputWidget)
    type = forms.ChoiceField(
        required=False,
        choices=[("", "all types"), *((type, type) for type in TYPES)],
        widget=UnfoldAdminSelectWidget,
    )


def live(request: HttpRequest) -> HttpResponse:
    """For superusers, as the updates of every tenant are."""
    context = {
        **admin.site.each_context(request),
        "title": "Live updates",
        "may_follow": getattr(request.user, "is_superuser", False),
        "form": Filters(initial=request.GET.dict()),
    }
    return TemplateResponse(request, "admin/live.html", context)
