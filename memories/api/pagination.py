"""Pages of lists, by cursor: rows that are stored meanwhile do not shift them."""

import re
from itertools import accumulate
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """Rows by descending id. Only a cursor from an earlier page is accepted."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise _unknown() from None
        # The stubs declare the position as a number; it is text from the URL.
        if cursor and not re.fullmatch(r"\d{1,18}|None", str(cursor.position), re.ASCII):
            raise _unknown()
        return cursor


class NewestMemoryFirst(NewestFirst):
    """Memories by descending id, in pages of at most PAGE_MAX_BYTES.

    A first query reads only the ids and sizes of a page. The page ends before the row that would be too much, so such
    rows are never read; it has at least one row. `more_bytes` is what the answer adds to each row.
    """

    def __init__(self, more_bytes: int = 0) -> None:
        self.more_bytes = more_bytes
        self._position = type(self).ordering.removeprefix("-")

    def paginate_queryset(
        self, queryset: "QuerySet[Any, Any]", request: Request, view: Any = None
    ) -> list[Any] | None:
        sizes = queryset.values("pk", self._position, "content_bytes")
        page: list[Any] = super().paginate_queryset(sizes, request, view) or []
        self._shorten(page)
        keys = [row["pk"] for row in self.page or ()]
        rows = {row.pk: row for row in queryset.filter(pk__in=keys)}
        return [rows[key] for key in keys if key in rows]

    def _shorten(self, page: list[Any]) -> None:
        backwards = self.cursor is not None and self.cursor.reverse
        rows = page[::-1] if backwards else page
        totals = accumulate(row["content_bytes"] + self.more_bytes for row in rows)
        fitting = max(1, sum(total <= settings.PAGE_MAX_BYTES for total in totals))
        if fitting >= len(rows):
            return
        following = str(rows[fitting][self._position])
        if backwards:
            self.page, self.has_previous, self.previous_position = page[-fitting:], True, following
        else:
            self.page, self.has_next, self.next_position = page[:fitting], True, following


class NewestStateFirst(NewestMemoryFirst):
    """States of memories, by descending id of the memory. The id of the row is the version's."""

    ordering = "-pgh_obj_id"


class OldestVersionFirst(NewestMemoryFirst):
    """Versions of a memory in the order in which they were made."""

    ordering = "pgh_id"


def _unknown() -> ValidationError:
    return ValidationError({"cursor": ["This is not a cursor from `next` or `previous` of a page."]})
