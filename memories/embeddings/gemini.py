"""Google's embedding models, for any client library: limits, prompts, and the meaning of errors."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from memories.embeddings.tokens import first_tokens
from memories.embeddings.vectors import EmbeddingError
from outbox.exceptions import Reject, Unavailable

DEFAULT_MODEL = "gemini-embedding-2"
# The texts that one batchEmbedContents call accepts.
BATCH_SIZE = 100
# How many tokens of a text a model reads. The service silently drops the rest.
INPUT_TOKENS = {"gemini-embedding-2": 8192}
DEFAULT_INPUT_TOKENS = 2048
# gemini-embedding-2 ignores the task type. It reads its task from the text, in Google's own wording.
PROMPTS = {
    "RETRIEVAL_DOCUMENT": "title: none | text: {text}",
    "RETRIEVAL_QUERY": "task: search result | query: {text}",
}
PROMPT_TOKENS = 16

BUSY = {408, 429, 502, 503, 504}

Task = Literal["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]
Details = Sequence[Mapping[str, object]]


class GeminiModel:
    """The part of a Google backend that does not depend on the client library."""

    def __init__(self, model: str = "", dimensions: int = 768) -> None:
        if not settings.GOOGLE_API_KEY:
            raise ImproperlyConfigured(
                "EMBEDDING_BACKEND names a Google backend, but GOOGLE_API_KEY is empty: set it (keys: "
                "https://aistudio.google.com/apikey), or EMBEDDING_BACKEND=static to work without a provider"
            )
        self.model = (model or DEFAULT_MODEL).removeprefix("models/")
        self.dimensions = dimensions

    def fit(self, text: str) -> str:
        """Return the part of the text that the model reads, by an estimate of its tokens."""
        return first_tokens(text, INPUT_TOKENS.get(self.model, DEFAULT_INPUT_TOKENS) - PROMPT_TOKENS)

    def prompted(self, texts: Sequence[str], task: Task) -> list[str]:
        """Return the texts with the task in them, where the model reads its task from the text."""
        prompts_in_text = self.model.startswith("gemini-embedding-2")
        return [PROMPTS[task].format(text=text) for text in texts] if prompts_in_text else list(texts)

    def meaning(
        self, code: int, message: str, details: Details, *, retry_after: object, texts: int
    ) -> Unavailable | Reject | EmbeddingError:
        """Return the exception for Google's error: wait, correct a setting, give up the text, or try again.

        `details` are those of google.rpc.Status, `retry_after` is the header, `texts` is how many were sent.
        """
        answer = f"{' '.join(message.split())} (HTTP {code})"
        if code in BUSY:
            return Unavailable("embedder", f"Google: {answer}", retry_after=_seconds(details, retry_after))
        if advice := self._advice(code, message, details):
            return Unavailable("embedder", f"{advice}. Google: {answer}")
        if code == 400 and texts == 1:
            return Reject(f"Google cannot embed this text: {answer}")
        return EmbeddingError(f"Google, asked for {texts} embeddings: {answer}")

    def _advice(self, code: int, message: str, details: Details) -> str | None:
        """Return what a person has to correct, where no retry helps and no text is the cause; else None."""
        reasons = {detail.get("reason") for detail in details}
        if code in (401, 403) or "API_KEY_INVALID" in reasons or "api key" in message.lower():
            return "Google refuses the key: check GOOGLE_API_KEY"
        if code == 404:
            return f"Google has no embedding model {self.model!r}: check EMBEDDING_MODEL"
        if code == 400 and "dimension" in message.lower():
            return f"{self.model} does not make {self.dimensions} dimensions: check EMBEDDING_DIMENSIONS"
        if code == 400 and "location" in message.lower():
            return "Google does not serve this machine's location: see GOOGLE_API_ENDPOINT"
        return None


def unreachable(error: Exception) -> Unavailable:
    """Return the exception for a connection that was refused, cut or timed out."""
    where = settings.GOOGLE_API_ENDPOINT or "Google"
    return Unavailable("embedder", f"{where} does not answer: {type(error).__name__}: {error}")


def _seconds(details: Details, header: object) -> float | None:
    """Return how long to wait: from google.rpc.RetryInfo ("34.07s"), else from the Retry-After header ("34")."""
    delays = [detail.get("retryDelay") for detail in details if "RetryInfo" in str(detail.get("@type"))]
    for delay in (*delays, header):
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)s?", str(delay)):
            return float(match[1])
    return None
