"""The event types and aggregate types that memories publish to the outbox."""

AGGREGATE = "memory_log"
# An aggregate type of its own: index events that wait out a Chroma outage must not hold back the embedding of
# the same memory's next version.
VECTOR_AGGREGATE = "memory_vector"
AGGREGATES = (AGGREGATE, VECTOR_AGGREGATE)

# Rechecks of a memory and of a collection have aggregate types of their own, so that they hold back no other event.
RECHECK_AGGREGATE = "memory_vector_recheck"
INDEX_RECHECK_AGGREGATE = "memory_index_recheck"
# A write to Chroma that nobody waits for any more is over by then.
RECHECK_SECONDS = 60.0
