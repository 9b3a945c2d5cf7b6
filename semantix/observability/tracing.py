"""OpenTelemetry traces, off unless OTEL_EXPORTER_OTLP_ENDPOINT names a collector.

One trace covers a request, each delivery of its events, the embedder and Chroma: the event headers carry the W3C
`traceparent`, and a delivery passes its own one to the events that it publishes. A handler call with a batch from
several traces runs in its own trace, which links to each of them.

While traces are off, no exporter is imported, no thread is started and handlers are not wrapped. The SDK's own OTEL_*
variables configure the rest.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from multiprocessing import util
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from outbox import ClaimedEvent, registry
from outbox.publishing import headers
from semantix.observability.metrics.middleware import route_of

# Time to send the last spans at the end of a process: less than `up` waits for that end.
FLUSH_MILLISECONDS = 1_500

_tracer = trace.get_tracer("semantix")
_propagator = TraceContextTextMapPropagator()
_starting = threading.Lock()
_started = False


def is_on() -> bool:
    return bool(settings.OTEL_EXPORTER_OTLP_ENDPOINT)


def start() -> None:
    """Start sending this process's spans. This starts a thread, so call it after the last fork."""
    global _started
    with _starting:
        if not _started and is_on():
            _send_spans()
        _started = True


def start_in_worker(**_: Any) -> None:
    """Wrap every handler in a span. django-q2 calls this in each new worker."""
    if is_on():
        start()
        for type in registry.handled_types():
            handler = registry.handler_of(type)
            registry.put(type, handler and traced(handler))


def _send_spans() -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": settings.OTEL_SERVICE_NAME})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    processor = BatchSpanProcessor(OTLPSpanExporter())
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    # A forked worker runs no atexit functions. This runs at the end of every kind of process.
    util.Finalize(None, processor.shutdown, args=(FLUSH_MILLISECONDS,), exitpriority=0)


@contextmanager
def request_span(request: HttpRequest, caller: str) -> Iterator[tuple[Span, str]]:
    """Open the span of a request, as a child of the caller's `traceparent`. Yields the span and its `traceparent`."""
    start()
    attributes = {"http.request.method": request.method or "", "url.scheme": request.scheme or ""}
    with _span(request.method or "request", caller, SpanKind.SERVER, attributes) as span:
        yield span, _traceparent()


def end_request(span: Span, request: HttpRequest, response: HttpResponseBase) -> None:
    """Name the span by its route, never by its path: a path may contain what a person searched for."""
    span.update_name(f"{request.method} {route_of(request)}")
    span.set_attributes({"http.route": route_of(request), "http.response.status_code": response.status_code})
    if response.status_code >= 500:
        span.set_status(Status(StatusCode.ERROR))


def traced(handler: registry.Handler) -> registry.Handler:
    """The handler with a span around each of its calls."""

    @wraps(handler.function)
    def function(given: Any) -> None:
        with _delivery(given if handler.batch else [given]) as events:
            handler.function(events if handler.batch else events[0])

    return replace(handler, function=function)


@contextmanager
def _delivery(events: Sequence[ClaimedEvent]) -> Iterator[list[ClaimedEvent]]:
    """Open the delivery spans. Yields the events with headers that make their delivery's span the parent of new events.

    Events of one trace share a span.
    """
    type = events[0].type
    with ExitStack() as stack:
        steps: dict[str, tuple[Span, str]] = {}
        for sent in dict.fromkeys(event.headers.get("traceparent", "") for event in events):
            ids = [event.id for event in events if event.headers.get("traceparent", "") == sent]
            attributes = {"messaging.system": "outbox", "outbox.event.type": type, "outbox.event.ids": ids}
            span = stack.enter_context(_span(f"deliver {type}", sent, SpanKind.CONSUMER, attributes))
            steps[sent] = span, _traceparent()
        if len(steps) > 1:
            stack.enter_context(_batch_span(type, [span for span, _ in steps.values()]))
        stack.enter_context(headers.bound({"traceparent": _traceparent()}))
        yield [_with_parent(event, steps[event.headers.get("traceparent", "")][1]) for event in events]


def _batch_span(type: str, spans: Sequence[Span]) -> Any:
    name, links = f"deliver {type} together", [Link(span.get_span_context()) for span in spans]
    batch = _tracer.start_span(name, context=Context(), kind=SpanKind.CONSUMER, links=links)
    for span in spans:
        span.add_link(batch.get_span_context())
    return trace.use_span(batch, end_on_exit=True)


def _with_parent(event: ClaimedEvent, traceparent: str) -> ClaimedEvent:
    return event._replace(headers={**event.headers, "traceparent": traceparent})


def _span(name: str, parent: str, kind: SpanKind, attributes: Mapping[str, Any]) -> Any:
    context = _propagator.extract({"traceparent": parent}, context=Context())
    return _tracer.start_as_current_span(name, context=context, kind=kind, attributes=attributes)


def _traceparent() -> str:
    """The `traceparent` of the current span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier["traceparent"]
