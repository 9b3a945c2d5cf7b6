"""A worker's start: it loads slow libraries and models before its first event, so that no memory waits for them."""

import logging
from typing import Any

from memories import embeddings
from memories.index import client
from outbox import Unavailable

logger = logging.getLogger(__name__)


def import_libraries() -> None:
    """Import what every worker needs, before the cluster forks: then a worker that replaces a killed one has it.

    The embedder is not loaded here. A provider's library may start threads, which no fork inherits.
    """
    import chromadb.api.client  # noqa: F401


def warm_up(**_: Any) -> None:
    """Load the embedder and connect to Chroma. Called in each new worker, after the fork.

    A Chroma that does not answer delays it by a second at most. A failure is logged here, and reported at the first
    event.
    """
    try:
        embeddings.load()
        client.load()
    except Unavailable as unavailable:
        logger.info("%s; its events wait", unavailable)
    except Exception:
        logger.exception("A worker could not load what its events need; they will fail in the same way")
