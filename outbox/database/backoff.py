"""How long an event waits after an attempt that failed: exponentially longer, with full jitter."""

from outbox.conf import conf

# Of the row's attempts, as an expression of SQL; full jitter (random() times the whole pause) spreads the retries of
# events that failed together.
NEXT_ATTEMPT = """clock_timestamp() + random() * make_interval(
            secs => least(%(cap)s, %(base)s * power(2, least(attempts, 31) - 1)))"""


def parameters() -> dict[str, float]:
    return {"base": conf.BACKOFF_BASE_SECONDS, "cap": conf.BACKOFF_CAP_SECONDS}
