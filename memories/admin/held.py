"""What the index holds of a memory, on its page."""

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memories.index import availability
from memories.index.metadata import metadata_of
from memories.index.reading import Held, held
from memories.models import MemoryLog
from outbox import Unavailable
from outbox.admin import rendering


def rendered(row: MemoryLog) -> SafeString:
    """One part for each collection of the tenant. An index that is away, or refuses, is said so."""
    if not availability.is_available():
        return SafeString("Chroma is away, so it is not asked. The list of circuits says since when.")
    try:
        found = held(row)
    except Unavailable as error:
        availability.mark_unavailable(error)
        return format_html("It is not known: {}", error)
    except Exception as error:  # whatever is wrong with the collection, the page of the memory opens
        return format_html("The collection cannot be read: {}", error)
    if not found:
        return SafeString("The tenant has no collection yet. Its first embedded memory creates one.")
    return format_html_join("", "<div>{}{}</div>", ((_verdict(row, one), _details(one)) for one in found))


def _verdict(row: MemoryLog, one: Held) -> str:
    where = f"{one.generation.collection} ({one.generation.state})"
    if one.metadata is None:
        return f"{where} holds nothing of it."
    version = one.metadata.get("version")
    if version != row.version:
        return f"{where} holds version {version}. PostgreSQL has version {row.version}."
    differs = [name for name, value in metadata_of(row).items() if one.metadata.get(name) != value]
    if differs:
        return f"{where} holds version {version} with other values of {', '.join(differs)}."
    return f"{where} holds version {version}, the same as PostgreSQL."


def _details(one: Held) -> SafeString:
    if one.metadata is None:
        return SafeString("")
    return format_html(
        '<details><summary style="cursor:pointer;text-decoration:underline;display:inline-block;'
        'padding:6px 24px 6px 0">document and metadata</summary>{}{}</details>',
        rendering.text_block(one.document or ""),
        rendering.json_block(one.metadata),
    )
