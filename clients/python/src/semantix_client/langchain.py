"""A retriever for LangChain."""

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from semantix_client.async_client import AsyncSemantix
from semantix_client.client import Semantix
from semantix_client.models import Hit


class SemantixRetriever(BaseRetriever):
    """Finds memories as documents. `filters` are those of `Semantix.search`.

    The text of a document is what the memory was searched by; its metadata has the id, score, task, agent, date and
    raw_data.
    """

    client: Any
    async_client: Any = None
    limit: int = 4
    filters: dict[str, Any] = {}

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        client: Semantix = self.client
        return [_document(hit) for hit in client.search(query, limit=self.limit, **self.filters)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        client: AsyncSemantix | None = self.async_client
        if client is None:
            return await super()._aget_relevant_documents(query, run_manager=run_manager)
        return [_document(hit) for hit in await client.search(query, limit=self.limit, **self.filters)]


def _document(hit: Hit) -> Document:
    about: dict[str, Any] = {"score": hit.score, "similarity": hit.similarity}
    if hit.memory:
        memory = hit.memory
        about |= {"task": memory.task, "agent": memory.agent, "date": memory.date.isoformat()}
        about["raw_data"] = memory.raw_data
    return Document(id=str(hit.memory_id), page_content=hit.document, metadata=about)
