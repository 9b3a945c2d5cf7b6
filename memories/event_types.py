"""The event types and aggregate types that memories publish to the outbox."""

AGGREGATE = "memory_log"
# An aggregate type of its own: index events that wait out a Chroma outage must not hold back the embedding of
# the same memory's next version.
VECTOR_AGGREGATE = "memory_vector"
AGGREGATES = (AGGREGATE, VECTOR_AGGREGATE)
