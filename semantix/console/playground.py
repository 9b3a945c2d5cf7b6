"""The admin's page where a person tries a search, and sees why each hit stands where it does."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from memories.api.limits import ID_LENGTH, TEXT_LENGTH
from memories.api.serializers.search import SearchInput
from memories.search.explain import Explained, explain
from outbox import Unavailable


def _line(**options: Any) -> forms.CharField:
    return forms.CharField(widget=UnfoldAdminTextInputWidget, **options)


class SearchForm(forms.Form):
    """The fields of a search. The API's own serializer checks them."""

    query = forms.CharField(
        max_length=TEXT_LENGTH, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), label="Query"
    )
    user_id = _line(max_length=ID_LENGTH, label="User id")
    project_id = _line(max_length=ID_LENGTH, label="Project id")
    mode = forms.ChoiceField(
        choices=[("hybrid", "by both"), ("lexical", "by words"), ("vector", "by meaning")],
        widget=UnfoldAdminSelectWidget,
        help_text="how the memories are ranked",
    )
    limit = forms.IntegerField(min_value=1, max_value=50, initial=10, widget=UnfoldAdminIntegerFieldWidget)
    agent = _line(required=False, max_length=ID_LENGTH)
    date_from = _line(required=False, label="From date", help_text="2026-01-31")
    date_to = _line(required=False, label="To date")
    tags = _line(required=False, help_text="all of these, with commas between them")
    filter = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text='conditions as JSON: {"or": [{"agent": "coder"}, {"raw_data.attempts": {"gte": 3}}]}',
    )

    def body(self) -> dict[str, Any]:
        """What a program would send. Raises ValueError for a filter that is not JSON."""
        given = {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}
        if "tags" in given:
            given["tags"] = [tag.strip() for tag in given["tags"].split(",") if tag.strip()]
        if "filter" in given:
            given["filter"] = json.loads(given["filter"])
        return given


# The form is in two parts: what every search needs, and the filters.
ALWAYS = ("query", "user_id", "project_id", "mode", "limit")


def playground(request: HttpRequest) -> HttpResponse:
    """For those who may view memories: it shows memories of every tenant."""
    if not request.user.has_perm("memories.view_memorylog"):
        raise PermissionDenied
    form = SearchForm(request.POST) if request.method == "POST" else SearchForm(initial=request.GET.dict())
    context = {
        **admin.site.each_context(request),
        "title": "Try a search",
        "form": form,
        "always": [form[name] for name in ALWAYS],
        "filters": [field for field in form if field.name not in ALWAYS],
        "has_filters": any(form[name].value() for name in form.fields if name not in ALWAYS),
    }
    if form.is_bound and form.is_valid():
        context |= _answer(form)
    return TemplateResponse(request, "admin/search.html", context)


def _answer(form: SearchForm) -> dict[str, Any]:
    try:
        search = SearchInput(data=form.body())
    except ValueError as error:
        return {"problems": [f"filter: {error}"]}
    if not search.is_valid():
        return {"problems": [f"{name}: {_text(refusals)}" for name, refusals in search.errors.items()]}
    try:
        found = explain(search.to_query())
    except Unavailable as error:
        return {"problems": [f"{error}. Search by words, which needs no embedder."]}
    backend = {"chroma": "Chroma", "pgvector": "PostgreSQL, because Chroma could not answer"}
    return {
        "asked": True,
        "compared_by": backend.get(found.backend, "nobody: words alone were searched"),
        "hits": [(one, _why(one)) for one in found.hits],
    }


def _text(refusals: Any) -> str:
    return json.dumps(refusals) if isinstance(refusals, dict) else " ".join(map(str, refusals))


def _why(one: Explained) -> str:
    """Its places in the rankings, and what memories that were written next to it added."""
    why = one.hit.explanation
    places = [
        f"place {place} {how}" if place else f"not found {how}"
        for place, how in ((why.word_place, "by words"), (why.meaning_place, "by meaning"))
    ]
    sentence = f"{', '.join(places).capitalize()}. Its score is {one.hit.score:.2f}"
    if why.neighbours:
        sentence += f", {why.neighbours:.2f} of it from memories that were written next to it"
    return f"{sentence}."
