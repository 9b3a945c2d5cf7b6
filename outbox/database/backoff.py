"""The backoff after a failed attempt: exponential, with full jitter."""

from outbox.conf import conf

# An SQL expression over the row's `attempts`. Full jitter (random() times the whole pause) spreads the retries of
# events that failed together. Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
NEXT_ATTEMPT = """clock_timestamp() + random() * make_interval(
            secs => least(%(cap)s, %(base)s * power(2, least(attempts, 31) - 1)))"""


def parameters() -> dict[str, float]:
    """The query parameters of NEXT_ATTEMPT, in seconds."""
    return {"base": conf.BACKOFF_BASE_SECONDS, "cap": conf.BACKOFF_CAP_SECONDS}
