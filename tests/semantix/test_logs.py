"""Log lines: JSON outside a terminal, with the ids that connect both sides of the outbox."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from logging.config import dictConfig
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from django.test import Client

from outbox.publishing import headers
from semantix.observability import logs

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def written() -> Iterator[StringIO]:
    """The output of the shipped configuration outside a terminal."""
    dictConfig(logs.configuration("INFO"))
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    stream = StringIO()
    handler.setStream(stream)
    yield stream
    dictConfig(settings.LOGGING)


@pytest.mark.parametrize(
    "name",
    [
        "django",
        "django.request",
        "django.server",
        "django.security.csrf",
        "outbox",
        "uvicorn.error",
        "uvicorn.access",
    ],
)
def test_a_level_silences_lower_levels_of_every_logger(
    written: StringIO, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    uvicorn.Config(None, log_level="warning")  # as the web server's start does it, before Django's
    dictConfig(logs.configuration("ERROR"))
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)

    logging.getLogger(name).warning("look out")
    assert written.getvalue() == ""
    logging.getLogger(name).error("it broke")
    assert last_line(written)["event"] == "it broke"
    assert len(written.getvalue().splitlines()) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["django-q", "httpx", "uvicorn.access", "outbox"])
def test_debug_logs_everything(written: StringIO, name: str) -> None:
    dictConfig(logs.configuration("DEBUG"))
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)

    logging.getLogger(name).debug("a detail")

    assert last_line(written)["event"] == "a detail"


def last_line(written: StringIO) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written.getvalue().splitlines()[-1])
    return found


def test_a_line_is_json_with_time_level_and_logger(written: StringIO) -> None:
    logging.getLogger("outbox.delivery.deliver").warning("event %d failed", 7, extra={"event_id": 7})

    told = last_line(written)
    assert told["event"] == "event 7 failed"
    assert (told["level"], told["logger"], told["event_id"]) == ("warning", "outbox.delivery.deliver", 7)
    assert told["timestamp"].endswith("Z")


def test_request_and_trace_id_are_on_every_line_of_a_request_and_of_its_events(written: StringIO) -> None:
    with headers.bound({"traceparent": TRACE, "request_id": "req-42"}):
        logging.getLogger("anywhere").info("hello")

    told = last_line(written)
    assert told["request_id"] == "req-42"
    assert told["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_an_exception_is_one_line(written: StringIO) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("anywhere").exception("it failed")

    assert "ValueError: boom" in last_line(written)["exception"]


def test_a_request_to_another_host_is_one_line_without_a_traceback(written: StringIO, client: Client) -> None:
    client.get("/memory-logs", headers={"host": "another.example"})

    [told] = [json.loads(line) for line in written.getvalue().splitlines() if "HTTP_HOST" in line]
    assert "another.example" in told["event"]
    assert "exception" not in told
