"""The service without an outbox: a create embeds the text and writes to Chroma before it answers.

Web server, framework and stores are the same; only the provider is a stand-in that takes 300 ms.
"""

import time
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from rest_framework.response import Response  # noqa: E402

from memories.api.serializers.memory_log import MemoryLogInput  # noqa: E402
from memories.api.serializers.memory_output import MemoryLogOutput  # noqa: E402
from memories.api.views import memory_logs  # noqa: E402
from memories.embeddings import embed_documents  # noqa: E402
from memories.index.client import get_client  # noqa: E402
from memories.models import MemoryLog  # noqa: E402
from memories.records.services import NewMemory, prepare  # noqa: E402
from memories.text import searchable_text  # noqa: E402
from semantix.web.bodies import BoundedBodies  # noqa: E402
from semantix.web.threads import ThreadedHandler  # noqa: E402

PROVIDER_SECONDS = 0.3


def store(new: NewMemory) -> MemoryLog:
    row = MemoryLog.objects.create(**prepare(new).row)
    text = searchable_text(task=new.task, agent=new.agent, raw_data=new.raw_data)
    time.sleep(PROVIDER_SECONDS)
    vector = embed_documents([text])[0]
    MemoryLog.objects.filter(id=row.id).update(embedding=vector)
    collection().upsert(
        ids=[str(row.id)], embeddings=[vector], documents=[text], metadatas=[{"agent": new.agent}]
    )
    return row


def collection() -> Any:
    return get_client().get_or_create_collection(
        "inline", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )


def post(self: Any, request: Any) -> Response:
    given = MemoryLogInput(data=request.data)
    given.is_valid(raise_exception=True)
    return Response(MemoryLogOutput(store(NewMemory(**given.validated_data))).data, status=201)


memory_logs.MemoryLogs.post = post  # type: ignore[method-assign]
threads = ThreadedHandler(settings.WEB_THREADS)
application = BoundedBodies(threads, threads.executor)
