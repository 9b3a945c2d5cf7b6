"""What a worker does once, before its first event: load what is slow to load, so that no memory waits for it."""

import logging
from typing import Any

from memories import embeddings
from memories.index import client
from outbox import Unavailable

logger = logging.getLogger(__name__)


def warm_up(**_: Any) -> None:
    """Called in each new worker, after the fork; a Chroma that is there and mute does not hold it up.

    What fails here fails again, and is told, at the first event.
    """
    try:
        embeddings.load()
        client.load()
    except Unavailable as unavailable:
        logger.info("%s; events wait for it", unavailable)
    except Exception:
        logger.exception("A worker could not get ready; its events will fail the same way")
