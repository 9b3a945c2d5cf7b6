"""Logging: JSON lines, or readable ones on a terminal, with the ids of the request and trace they belong to.

No secret and no content of a memory is logged at INFO: only ids, types, counts and times.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from outbox.publishing import headers
from outbox.publishing.traceparent import parse


def configuration(level: str) -> dict[str, Any]:
    """Django's LOGGING for `level`. Everything goes through the standard library's logging; structlog formats it."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _common(),
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering()],
            }
        },
        "filters": {"untraced": {"()": Untraced}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # django-q2 logs each task at INFO. An outbox batch is a task and has its own lines.
            "django-q": {"level": at_least("WARNING", level)},
            # Django's line for a failed request repeats ours with less in it.
            "django.request": {"level": at_least("ERROR", level)},
            # Internet scanners cause these. The message is enough without a traceback.
            "django.security.DisallowedHost": {"filters": ["untraced"]},
            "httpx": {"level": at_least("WARNING", level)},
            "httpx2": {"level": at_least("WARNING", level)},
            # It logs the end of each request as the end of a session.
            "mcp.server.streamable_http": {"level": at_least("WARNING", level)},
            # By default both have their own level and handlers, which ignore LOG_LEVEL.
            "django": {"handlers": [], "level": at_least("INFO", level)},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            # The same holds for the web server. At INFO it logs each request, as we do.
            "uvicorn": {"handlers": [], "level": at_least("WARNING", level), "propagate": True},
            "uvicorn.error": {"level": at_least("WARNING", level)},
            "uvicorn.access": {"handlers": [], "level": at_least("WARNING", level), "propagate": True},
        },
    }


def at_least(least: str, level: str) -> str:
    """The less verbose of the two levels, but DEBUG where `level` is DEBUG."""
    if level == "DEBUG":
        return level
    numbers = logging.getLevelNamesMapping()
    return max(least, level, key=lambda name: numbers.get(name, 0))


class Untraced(logging.Filter):
    """Removes the traceback from a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True


def _common() -> list[Processor]:
    return [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_travelling_ids,
    ]


def _rendering() -> list[Processor]:
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def add_travelling_ids(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Add the request id and trace id of the current request or event to the log entry."""
    travelling = headers.current()
    if request_id := travelling.get("request_id"):
        event.setdefault("request_id", request_id)
    if trace := parse(travelling.get("traceparent")):
        event.setdefault("trace_id", trace.trace_id)
    return event
