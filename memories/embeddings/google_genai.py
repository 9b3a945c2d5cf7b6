"""Google's embedding models by google-genai, the maintained client library: an extra."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from django.conf import settings

from memories.embeddings.backend import Vectors
from memories.embeddings.extras import require
from memories.embeddings.gemini import BATCH_SIZE, GeminiModel, Task, unreachable


class GoogleGenAIBackend(GeminiModel):
    """The successor of GoogleBackend: the same models, prompts and errors."""

    def __init__(self, model: str = "", dimensions: int = 768) -> None:
        require("google.genai", "google-genai")
        super().__init__(model, dimensions)

    def load(self) -> None:
        import google.genai  # noqa: F401

    def embed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        batches = [texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE)]
        return [vector for batch in batches for vector in self._embed(batch, "RETRIEVAL_DOCUMENT")]

    def embed_query(self, text: str) -> Vectors:
        return self._embed([text], "RETRIEVAL_QUERY")[0]

    def embed_queries(self, texts: Sequence[str]) -> list[Vectors]:
        return self._embed(texts, "RETRIEVAL_QUERY")

    def _embed(self, texts: Sequence[str], task: Task) -> list[Vectors]:
        import httpx
        import httpx2
        from google.genai import errors, types

        client = _client(
            settings.GOOGLE_API_KEY, settings.GOOGLE_API_ENDPOINT, settings.EMBEDDING_TIMEOUT_SECONDS
        )
        try:
            answer = client.models.embed_content(
                model=self.model,
                # One Content for each text: the library joins plain strings into a single one.
                contents=[
                    types.Content(parts=[types.Part(text=text)]) for text in self.prompted(texts, task)
                ],
                config=types.EmbedContentConfig(task_type=task, output_dimensionality=self.dimensions),
            )
        except errors.APIError as error:
            raise self._explained(error, len(texts)) from error
        except (httpx.TransportError, httpx2.TransportError) as error:
            raise unreachable(error) from error
        return [np.asarray(embedding.values, dtype=np.float32) for embedding in answer.embeddings or ()]

    def _explained(self, error: Any, texts: int) -> Exception:
        said = error.details.get("error", {}) if isinstance(error.details, dict) else {}
        header = getattr(error.response, "headers", {}).get("Retry-After")
        return self.meaning(
            error.code, str(error.message), said.get("details", ()), retry_after=header, texts=texts
        )


@lru_cache(maxsize=2)
def _client(api_key: str, endpoint: str, timeout_seconds: float) -> Any:
    from google import genai

    options = genai.types.HttpOptions(timeout=int(timeout_seconds * 1000))
    if endpoint:
        options.base_url = endpoint if "://" in endpoint else f"https://{endpoint}"
    return genai.Client(api_key=api_key, vertexai=False, http_options=options)
