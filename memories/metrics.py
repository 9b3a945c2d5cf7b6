"""The metrics and the tracer of embedding and indexing."""

from opentelemetry import trace
from prometheus_client import Counter, Histogram

# Its spans are dropped unless the process exports traces.
tracer = trace.get_tracer("memories")

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

embed_seconds = Histogram("semantix_embed_seconds", "Embedding the texts of one batch.", buckets=BUCKETS)
embedded_texts = Counter("semantix_embedded_texts", "Texts embedded.")
upsert_seconds = Histogram(
    "semantix_index_upsert_seconds", "Writing one tenant's part of a batch to Chroma.", buckets=BUCKETS
)
cache_hits = Counter("semantix_embedding_cache_hits", "Texts whose embedding was in the cache.")
cache_misses = Counter("semantix_embedding_cache_misses", "Texts that had to be embedded.")
cache_errors = Counter("semantix_embedding_cache_errors", "Times the cache failed and was left alone.")
upserted_vectors = Counter("semantix_index_upserted_vectors", "Vectors written to Chroma.")
searches = Counter(
    "semantix_searches",
    "Searches answered, by mode and by the store that compared vectors.",
    ["mode", "backend"],
)
