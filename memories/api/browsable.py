"""The API's pages in a browser."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django import forms
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import APIException
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.serializers import JSONField
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED, HTTP_405_METHOD_NOT_ALLOWED

from memories.api.json_text import TextOfJSON

WRITES = ("PUT", "PATCH")


class Pages(BrowsableAPIRenderer):
    """DRF's pages, with forms that are filled in.

    An address that takes only POST shows its form: a person who follows a link sends a GET. A form keeps what was
    asked, until it created something; the forms of PUT begin with what stands.
    """

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> Any:
        context = dict(renderer_context or {})
        if _asks_for_the_form(context):
            context["response"].status_code = HTTP_200_OK
            data = None
        return super().render(data, accepted_media_type, context)

    def get_rendered_html_form(self, data: Any, view: Any, method: str, request: Request) -> Any:
        with _filled(view, self._given(data, method, request)):
            # Without the answer: DRF would take an answer's serializer for that of the form.
            return super().get_rendered_html_form(None, view, method, request)

    def get_raw_data_form(self, data: Any, view: Any, method: str, request: Request) -> forms.Form | None:
        given = self._given(data, method, request)
        with _filled(view, given):
            form: forms.Form | None = super().get_raw_data_form(None, view, method, request)
        if form is not None and (content := _content(view, given)) is not None:
            form.initial["_content"] = content
        return form

    def _given(self, data: Any, method: str, request: Request) -> Any:
        """What the form of `method` begins with: a mapping of field names, the list of a batch, or nothing."""
        status = self.renderer_context["response"].status_code  # type: ignore[attr-defined]  # set by render()
        if request.method == method and status != HTTP_201_CREATED and (asked := _asked(request)):
            return asked
        if method in WRITES and isinstance(data, Mapping) and status < 300:
            return data
        return request.query_params


def _asks_for_the_form(context: Mapping[str, Any]) -> bool:
    refused = context["response"].status_code == HTTP_405_METHOD_NOT_ALLOWED
    return refused and context["request"].method == "GET" and "POST" in context["view"].allowed_methods


def _asked(request: Request) -> Any:
    """The body of the request; None for one that could not be read."""
    try:
        return request.data
    except APIException:
        return None


@contextmanager
def _filled(view: Any, given: Any) -> Iterator[None]:
    """Have the view make serializers whose fields begin with these values."""
    original = view.get_serializer

    def get_serializer(*args: Any, **kwargs: Any) -> Any:
        serializer = original(*args, **kwargs)
        for name, field in getattr(serializer, "fields", {}).items():
            if isinstance(given, Mapping) and (value := given.get(name)) is not None:
                is_text_of_json = isinstance(field, JSONField) and isinstance(given, MultiValueDict)
                field.initial = TextOfJSON(value) if is_text_of_json else value
        return serializer

    view.get_serializer = get_serializer
    try:
        yield
    finally:
        del view.get_serializer


def _content(view: Any, given: Any) -> str | None:
    """The JSON of the raw tab; None where DRF fills it as well.

    A form of HTML has only strings, which are no JSON of numbers and objects: the raw tab then begins with an example.
    """
    serializer = view.get_serializer()
    fields = getattr(serializer, "fields", {})
    if isinstance(given, MultiValueDict) or not given:
        blank = [name for name, field in fields.items() if isinstance(field.initial, TextOfJSON)]
        given = (
            {name: value for name, value in serializer.data.items() if name not in blank} if blank else None
        )
    elif isinstance(given, Mapping):
        given = {name: given[name] for name in fields if name in given}
    if given is None:
        return None
    content: bytes = JSONRenderer().render(given, "application/json; indent=4")
    return content.decode()
