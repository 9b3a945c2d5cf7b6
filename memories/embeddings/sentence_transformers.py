"""A local model by sentence-transformers: an extra, with PyTorch."""

from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Any

from memories.embeddings.backend import Vectors
from memories.embeddings.extras import require
from outbox.exceptions import Unavailable

# It has 768 dimensions, the default of EMBEDDING_DIMENSIONS.
DEFAULT_MODEL = "sentence-transformers/all-mpnet-base-v2"


class SentenceTransformersBackend:
    """EMBEDDING_MODEL is a name on the Hugging Face hub, which is downloaded once, or the path of a folder."""

    def __init__(self, model: str = "", dimensions: int = 768) -> None:
        require("sentence_transformers", "sentence-transformers")
        self.model = model or DEFAULT_MODEL
        self.dimensions = dimensions
        # A tokenizer serves one thread at a time, but the web server has several.
        self._lock = Lock()

    def load(self) -> None:
        with self._lock:
            self._loaded  # noqa: B018

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            vectors: Vectors = self._loaded.encode_document(list(texts), show_progress_bar=False)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        with self._lock:
            vector: Vectors = self._loaded.encode_query(text, show_progress_bar=False)
        return vector

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            vectors: Vectors = self._loaded.encode_query(list(texts), show_progress_bar=False)
        return vectors

    def fit(self, text: str) -> str:
        """Return the text up to the last token that the model reads."""
        with self._lock:
            model = self._loaded
            tokens = model.tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
            )
            ends = [end for _, end in tokens["offset_mapping"]]
            room = (model.max_seq_length or len(ends)) - model.tokenizer.num_special_tokens_to_add()
        return text if len(ends) <= room else text[: ends[room - 1]]

    @cached_property
    def _loaded(self) -> Any:
        """Load the model at the first embedding, in the process that embeds: PyTorch does not survive a fork."""
        from sentence_transformers import SentenceTransformer

        try:
            return SentenceTransformer(self.model)
        except (OSError, ValueError) as error:
            raise Unavailable(
                "embedder", f"the model {self.model!r} cannot be loaded: check EMBEDDING_MODEL. {error}"
            ) from error
