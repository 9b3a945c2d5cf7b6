"""The ASGI application as the web server runs it: on one processor, and with all loaded that the first requests need.

The views, the client library of Chroma and the embedder take half a second of processor time to load. The first search
of each process would wait for that. They are loaded on a thread, so that the server answers meanwhile.
"""

import logging
from importlib import import_module
from threading import Thread

from django.conf import settings

from memories import embeddings
from memories.warmup import import_libraries
from outbox import Unavailable
from semantix import garbage
from semantix.asgi import application
from semantix.web.pinning import pin

__all__ = ["application"]

logger = logging.getLogger(__name__)


def load() -> None:
    """Load what a search needs. A failure is reported again at the first search."""
    import_module(settings.ROOT_URLCONF)
    import_libraries()
    try:
        embeddings.load()
    except Unavailable as unavailable:
        logger.info("%s; searches by words are answered", unavailable)
    except Exception:
        logger.exception(
            "The web server could not load the embedder; searches by meaning will fail in the same way"
        )
    garbage.process_serves()


# Libraries of embedders start threads of their own, which use all processors: this thread is started before the pin.
Thread(target=load, name="warm-up", daemon=True).start()
claim = pin() if settings.WEB_PINNED else None
