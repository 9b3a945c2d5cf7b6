"""Pages of lists: by cursor, so that what is stored meanwhile shifts none."""

import re

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """Ordered by an id; a cursor that does not come from an earlier page is refused."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise _unknown() from None
        # The stubs take the position for a number; it is what the URL says.
        if cursor and not re.fullmatch(r"\d{1,18}|None", str(cursor.position), re.ASCII):
            raise _unknown()
        return cursor


class NewestStateFirst(NewestFirst):
    """Of memories as they were, whose own id is the version's."""

    ordering = "-pgh_obj_id"


class OldestVersionFirst(NewestFirst):
    ordering = "pgh_id"


def _unknown() -> ValidationError:
    return ValidationError({"cursor": ["Is not one that a page gave."]})
