"""Compressed request bodies (Content-Encoding): decoded with a limit of the decoded size."""

import zlib

from rest_framework.exceptions import ParseError, UnsupportedMediaType

from memories.api.errors import TooLarge

# The `wbits` of zlib for each coding: a gzip member, a zlib stream.
WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def decode(raw: bytes, coding: str, limit: int) -> bytes:
    """Decode a body. `coding` is the header Content-Encoding, "" without one; `limit` is in bytes after decoding.

    Raises UnsupportedMediaType for another coding, TooLarge above the limit, ParseError for a body that is not one
    complete stream. A second gzip member is refused, because reading many small ones would take quadratic time.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return raw
    if name not in WBITS:
        raise UnsupportedMediaType(
            "",
            f"The Content-Encoding {coding!r} is not supported. Send gzip, deflate or no Content-Encoding.",
        )
    stream = zlib.decompressobj(WBITS[name])
    try:
        # One byte more than allowed shows that the body is too large.
        decoded = stream.decompress(raw, limit + 1)
    except zlib.error as error:
        raise ParseError(f"The body is not valid {name}: {error}.") from error
    if len(decoded) > limit:
        raise TooLarge
    if not stream.eof or stream.unused_data:
        raise ParseError(f"The body is not one complete {name} stream: it ends early, or more follows it.")
    return decoded
