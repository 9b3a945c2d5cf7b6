"""The pages of memories, their events, conversations and API keys. Django imports this to register them."""

from memories.admin import api_keys, conversations, events, memories  # noqa: F401
