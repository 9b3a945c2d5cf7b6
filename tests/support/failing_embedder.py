"""An embedder that fails with the text in its error, as a library may: for tests of what is left of it."""

from collections.abc import Sequence

from memories.embeddings.backend import Vectors
from memories.embeddings.hashing import HashingBackend

REFUSED = "unpronounceable"


class FailingEmbedder(HashingBackend):
    """Fails for texts with the word REFUSED."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if refused := next((text for text in texts if REFUSED in text), None):
            raise ValueError(f"no vector for {refused}")
        return super().embed_documents(texts)
