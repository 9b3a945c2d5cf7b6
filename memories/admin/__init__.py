"""The admin's pages of memories, events, conversations and API keys. Importing this package registers them."""

from memories.admin import api_keys, conversations, events, memories  # noqa: F401
