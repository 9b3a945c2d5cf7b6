"""Pages of lists, by cursor: rows that are stored meanwhile do not shift them."""

import re

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


class NewestStateFirst(NewestFirst):
    """States of memories, by descending id of the memory. The id of the row is the version's."""

    ordering = "-pgh_obj_id"


class OldestVersionFirst(NewestFirst):
    """Versions of a memory in the order in which they were made."""

    ordering = "pgh_id"


def _unknown() -> ValidationError:
    return ValidationError({"cursor": ["This is not a cursor from `next` or `previous` of a page."]})
