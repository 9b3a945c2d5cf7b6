"""Logs: a line an event, JSON unless a person reads along, with the request and trace it belongs to.

No secret and no memory's content is logged at INFO: ids, types, counts and times only.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from outbox.publishing import headers
from outbox.publishing.traceparent import parse


def configuration(level: str) -> dict[str, Any]:
    """Django's LOGGING. Everything goes through the standard library's logging, structlog only writes it."""
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
            # A line a task is too much at INFO: an outbox batch is a task, and has lines of its own.
            "django-q": {"level": at_least("WARNING", level)},
            # Its line a failed request says less than ours, and says it again.
            "django.request": {"level": at_least("ERROR", level)},
            # Whoever scans the internet sends it: its message says all.
            "django.security.DisallowedHost": {"filters": ["untraced"]},
            "httpx": {"level": at_least("WARNING", level)},
            "httpx2": {"level": at_least("WARNING", level)},
            # Django gives both a level and handlers of their own, which know nothing of LOG_LEVEL.
            "django": {"handlers": [], "level": at_least("INFO", level)},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            # So does the web server. At INFO it says a line a request, as we do.
            "uvicorn": {"handlers": [], "level": at_least("WARNING", level), "propagate": True},
            "uvicorn.error": {"level": at_least("WARNING", level)},
            "uvicorn.access": {"handlers": [], "level": at_least("WARNING", level), "propagate": True},
        },
    }


def at_least(least: str, level: str) -> str:
    """The quieter of the two; DEBUG is for seeing everything."""
    if level == "DEBUG":
        return level
    numbers = logging.getLevelNamesMapping()
    return max(least, level, key=lambda name: numbers.get(name, 0))


class Untraced(logging.Filter):
    """Takes the traceback off a record."""

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
    """The request id and trace id that travel with the request and with each of its events."""
    travelling = headers.current()
    if request_id := travelling.get("request_id"):
        event.setdefault("request_id", request_id)
    if trace := parse(travelling.get("traceparent")):
        event.setdefault("trace_id", trace.trace_id)
    return event
