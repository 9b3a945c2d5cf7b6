"""Request bodies sent in chunks (Transfer-Encoding: chunked), whose length no header tells.

Django takes a body without a Content-Length for empty; clients that stream their JSON would be told that every field
is missing. So it is read here, as far as a body may be long, and its length told.
"""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from django.conf import settings

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def with_length_told(application: Application) -> Application:
    """The WSGI application, to which every body comes with its length. Of one longer than MAX_BODY_BYTES a byte too
    many is read, for the application to answer 413."""

    def told(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.pop("HTTP_TRANSFER_ENCODING", ""):
            body = environ["wsgi.input"].read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
            environ |= {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return application(environ, start_response)

    return told
