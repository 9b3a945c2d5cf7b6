"""OpenTelemetry spans that a real web server and a real cluster send to a collector."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from outbox.testing import drain
from tests.support.clusters import cluster
from tests.support.keys import memory
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.support.processes import environment
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

CALLER = "b7ad6b7169203331"
DELIVERY = "deliver memory_log.stored"
SECRET = "what-the-memory-says"


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(django_db_setup: None, collector: OtlpReceiver) -> Iterator[WebServer]:
    with WebServer(**environment() | sending_to(collector)) as running:
        yield running


def sending_to(collector: OtlpReceiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


def traceparent(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER}-01"}


def remember(server: WebServer, trace_id: str) -> None:
    body = memory("alice", "web", raw_data={"solution": SECRET})
    assert (
        httpx.post(
            f"{server.url}/memory-logs", json=body, headers=traceparent(trace_id), timeout=60
        ).status_code
        == 201
    )


def of_trace(collector: OtlpReceiver, trace_id: str) -> dict[str, ReceivedSpan]:
    return {span.name: span for span in collector.spans if span.trace_id == trace_id}


def test_one_trace_covers_the_callers_request_and_the_calls_to_chroma(
    collector: OtlpReceiver, server: WebServer, tmp_path: Path
) -> None:
    line = ["POST /memory-logs", "deliver memory_log.stored", "deliver embedding.generated", "index upsert"]
    with cluster(tmp_path, **sending_to(collector)):
        remember(server, trace := uuid4().hex)
        # Each process sends its spans by itself, so they come in any order.
        wait_until(lambda: {*line, "embed"} <= of_trace(collector, trace).keys())

    spans = of_trace(collector, trace)
    assert [spans[name].parent_id for name in line] == [CALLER, *(spans[name].span_id for name in line[:-1])]
    assert spans["embed"].parent_id == spans["deliver memory_log.stored"].span_id
    assert {span.service for span in collector.spans} == {"semantix"}
    assert SECRET not in str(collector.spans)


def test_the_span_of_a_batch_links_to_each_of_its_traces(
    collector: OtlpReceiver, server: WebServer, tmp_path: Path
) -> None:
    traces = [uuid4().hex for _ in range(2)]
    for trace_id in traces:
        remember(server, trace_id)
    with cluster(tmp_path, **sending_to(collector)):
        wait_until(lambda: collector.named("deliver memory_log.stored together"))
        wait_until(lambda: all(DELIVERY in of_trace(collector, trace_id) for trace_id in traces))

    [together] = collector.named("deliver memory_log.stored together")
    deliveries = [of_trace(collector, trace_id)[DELIVERY] for trace_id in traces]
    assert together.links == {span.span_id for span in deliveries}
    assert all(span.links == {together.span_id} for span in deliveries)
    assert of_trace(collector, together.trace_id)["embed"].parent_id == together.span_id


def test_a_search_is_traced_to_chroma_and_a_health_check_is_not(
    collector: OtlpReceiver, server: WebServer
) -> None:
    remember(server, uuid4().hex)
    drain()
    query = {"user_id": "alice", "project_id": "web", "query": "login"}
    sent = traceparent(trace := uuid4().hex)

    httpx.post(f"{server.url}/memory-logs/search", json=query, headers=sent, timeout=60).raise_for_status()
    wait_until(lambda: "POST /memory-logs/search" in of_trace(collector, trace))

    spans = of_trace(collector, trace)
    for name in ("embed query", "index query"):
        assert spans[name].parent_id == spans["POST /memory-logs/search"].span_id
    assert not [span for span in collector.spans if "health" in span.name]


def test_without_a_collector_no_exporter_is_loaded_and_no_thread_started() -> None:
    program = (
        "import sys, threading, django; django.setup(); from django.test import Client;"
        "Client().get('/nowhere', headers={'host': 'localhost'});"
        "assert 'opentelemetry.exporter.otlp.proto.http' not in sys.modules;"
        "assert threading.active_count() == 1, threading.enumerate()"
    )
    subprocess.run([sys.executable, "-c", program], env=os.environ, check=True)
