"""Google's embedding models by google-generativeai, over REST: gRPC does not survive the cluster's fork."""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from django.conf import settings

from memories.embeddings.backend import Vectors
from memories.embeddings.gemini import GeminiModel, Task, unreachable


class GoogleBackend(GeminiModel):
    """The default backend with a GOOGLE_API_KEY. The library sends 100 texts in a call."""

    def load(self) -> None:
        _library()

    def embed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        return self._embed(texts, "RETRIEVAL_DOCUMENT")

    def embed_query(self, text: str) -> Vectors:
        return self._embed([text], "RETRIEVAL_QUERY")[0]

    def embed_queries(self, texts: Sequence[str]) -> list[Vectors]:
        return self._embed(texts, "RETRIEVAL_QUERY")

    def _embed(self, texts: Sequence[str], task: Task) -> list[Vectors]:
        genai = _library()
        from google.api_core.exceptions import GoogleAPICallError
        from requests import RequestException

        try:
            answer = genai.embed_content(
                model=f"models/{self.model}",
                content=self.prompted(texts, task),
                task_type=task,
                output_dimensionality=self.dimensions,
                client=_client(settings.GOOGLE_API_KEY, settings.GOOGLE_API_ENDPOINT),
                # Without `retry: None`, the library retries a 503 by itself for a minute.
                request_options={"retry": None, "timeout": settings.EMBEDDING_TIMEOUT_SECONDS},
            )
        except GoogleAPICallError as error:
            message = error.message.partition(": ")[2] or error.message  # "POST <url>: <message>"
            header = error.response.headers.get("Retry-After")
            raise self.meaning(
                error.code or 0, message, error.details, retry_after=header, texts=len(texts)
            ) from error
        except RequestException as error:
            raise unreachable(error) from error
        return [np.asarray(vector, dtype=np.float32) for vector in answer["embedding"]]


@lru_cache(maxsize=1)
def _library() -> Any:
    """Import the library at the first embedding, in the process that embeds: it takes two seconds and 50 MB."""
    with warnings.catch_warnings():
        # docs/how-to/choose-an-embedder.md says that the package is out of support. Not every start needs the warning.
        warnings.simplefilter("ignore", FutureWarning)
        import google.generativeai as genai
    return genai


@lru_cache(maxsize=2)
def _client(api_key: str, endpoint: str) -> Any:
    from google.ai import generativelanguage

    options = {"api_key": api_key} | ({"api_endpoint": endpoint} if endpoint else {})
    return generativelanguage.GenerativeServiceClient(transport="rest", client_options=options)
