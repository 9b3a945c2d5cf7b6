"""Counters and histograms that each process updates.

With PROMETHEUS_MULTIPROC_DIR they live in files of that folder, and one scrape sums up all web and cluster processes
of the machine. Without it, a process reports only its own.
"""

from prometheus_client import Counter, Histogram

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DELIVERY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600, 3600)

http_requests = Counter(
    "semantix_http_requests", "Requests answered, by route, method and status.", ["method", "route", "status"]
)
http_seconds = Histogram(
    "semantix_http_request_seconds", "Time to answer a request.", ["route"], buckets=HTTP_BUCKETS
)
claim_seconds = Histogram("semantix_outbox_claim_seconds", "Duration of a claim that found events.")
claimed_events = Counter("semantix_outbox_claimed_events", "Events claimed.")
attempts = Counter("semantix_outbox_attempts", "Delivery attempts by outcome.", ["event_type", "outcome"])
delivery_seconds = Histogram(
    "semantix_outbox_delivery_seconds",
    "Time from the publication of an event to its delivery.",
    ["event_type"],
    buckets=DELIVERY_BUCKETS,
)
handler_seconds = Histogram(
    "semantix_outbox_handler_seconds", "Duration of a handler call, for a batch or one event.", ["event_type"]
)
