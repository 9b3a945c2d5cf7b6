"""The admin's pages of memories and of what belongs to them. Importing this package registers them."""

from memories.admin import api_keys, conversations, erasures, events, memories  # noqa: F401
