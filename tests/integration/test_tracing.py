"""OpenTelemetry: what a collector is sent by a real web server and a real cluster."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from outbox.models import Event
from tests.clusters import cluster
from tests.keys import memory
from tests.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.processes import environment
from tests.waiting import wait_until
from tests.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "what-the-memory-says"


@pytest.fixture
def collector() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def server(collector: OtlpReceiver) -> Iterator[WebServer]:
    with WebServer(**environment() | sending_to(collector)) as running:
        yield running


def sending_to(collector: OtlpReceiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


def remember(server: WebServer, trace_id: str = TRACE) -> None:
    headers = {"traceparent": f"00-{trace_id}-{CALLER}-01"}
    body = memory("alice", "web", raw_data={"solution": SECRET})
    assert httpx.post(f"{server.url}/memory-logs", json=body, headers=headers, timeout=60).status_code == 201


def of_trace(collector: OtlpReceiver, trace_id: str) -> dict[str, ReceivedSpan]:
    return {span.name: span for span in collector.spans if span.trace_id == trace_id}


def test_one_trace_leads_from_the_callers_request_to_chroma(
    collector: OtlpReceiver, server: WebServer, tmp_path: Path
) -> None:
    line = ["POST /memory-logs", "deliver memory_log.stored", "deliver embedding.generated", "index upsert"]
    with cluster(tmp_path, **sending_to(collector)):
        remember(server)
        # Each process sends its spans by itself, so they come in any order.
        wait_until(lambda: {*line, "embed"} <= of_trace(collector, TRACE).keys())

    spans = of_trace(collector, TRACE)
    assert [spans[name].parent_id for name in line] == [CALLER, *(spans[name].span_id for name in line[:-1])]
    assert spans["embed"].parent_id == spans["deliver memory_log.stored"].span_id
    assert {span.service for span in collector.spans} == {"semantix"}
    assert SECRET not in str(collector.spans)


def test_a_batch_of_several_traces_is_linked_with_each(
    collector: OtlpReceiver, server: WebServer, tmp_path: Path
) -> None:
    traces = [f"{number:032x}" for number in (1, 2)]
    for trace_id in traces:
        remember(server, trace_id)
    with cluster(tmp_path, CLUSTER_WORKERS="1", **sending_to(collector)):
        wait_until(lambda: collector.named("deliver memory_log.stored together"))
        wait_until(lambda: len(collector.named("deliver memory_log.stored")) == 2)

    [together] = collector.named("deliver memory_log.stored together")
    deliveries = collector.named("deliver memory_log.stored")
    assert {span.trace_id for span in deliveries} == set(traces)
    assert together.links == {span.span_id for span in deliveries}
    assert all(span.links == {together.span_id} for span in deliveries)
    [embed] = collector.named("embed")
    assert embed.parent_id == together.span_id


def test_a_search_is_traced_to_chroma_and_a_health_check_is_not(
    collector: OtlpReceiver, server: WebServer, tmp_path: Path
) -> None:
    with cluster(tmp_path):
        remember(server)
        wait_until(lambda: Event.objects.filter(type="vector.stored").exists())
    query = {"user_id": "alice", "project_id": "web", "query": "login"}

    httpx.post(f"{server.url}/memory-logs/search", json=query, timeout=60).raise_for_status()
    wait_until(lambda: collector.named("POST /memory-logs/search"))

    [request] = collector.named("POST /memory-logs/search")
    for name in ("embed query", "index query"):
        [span] = collector.named(name)
        assert (span.trace_id, span.parent_id) == (request.trace_id, request.span_id)
    assert not [span for span in collector.spans if "health" in span.name]


def test_off_no_exporter_is_loaded_and_no_thread_started() -> None:
    program = (
        "import sys, threading, django; django.setup(); from django.test import Client;"
        "Client().get('/nowhere', headers={'host': 'localhost'});"
        "assert 'opentelemetry.exporter.otlp.proto.http' not in sys.modules;"
        "assert threading.active_count() == 1, threading.enumerate()"
    )
    subprocess.run([sys.executable, "-c", program], env=os.environ, check=True)
