"""Counters and histograms that the processes keep as things happen.

With PROMETHEUS_MULTIPROC_DIR they are kept in files there, and one scrape sums up all web and cluster processes
of the machine; without, a process tells of itself alone.
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
claim_seconds = Histogram("semantix_outbox_claim_seconds", "Time of a claim that found events.")
claimed_events = Counter("semantix_outbox_claimed_events", "Events claimed.")
attempts = Counter(
    "semantix_outbox_attempts", "Delivery attempts, by how they ended.", ["event_type", "outcome"]
)
delivery_seconds = Histogram(
    "semantix_outbox_delivery_seconds",
    "From an event's publishing to its delivery.",
    ["event_type"],
    buckets=DELIVERY_BUCKETS,
)
handler_seconds = Histogram(
    "semantix_outbox_handler_seconds", "Time a handler took, for a batch or a single event.", ["event_type"]
)
