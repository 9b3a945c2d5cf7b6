"""The header traceparent of W3C Trace Context."""

import pytest

from outbox.publishing.traceparent import TraceParent, begin, parse

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f" 00-{TRACE}-{PARENT}-01\t", True),
        (f"00-{TRACE}-{PARENT}-03", True),  # a flag of a later level: only the known one is kept
        (f"cc-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_header_is_parsed(header: str, sampled: bool) -> None:
    assert parse(header) == TraceParent(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\r\nSet-Cookie: a=b",
    ],
)
def test_an_invalid_header_is_none(header: str | None) -> None:
    assert parse(header) is None


def test_a_child_is_another_step_of_the_same_trace() -> None:
    parent = TraceParent(TRACE, PARENT, sampled=False)

    child = parent.child()

    assert (child.trace_id, child.sampled) == (TRACE, False)
    assert child.parent_id != PARENT
    assert parse(str(child)) == child


def test_a_new_trace_is_valid_and_sampled() -> None:
    ours = begin()

    assert parse(str(ours)) == ours
    assert ours.sampled
    assert begin().trace_id != ours.trace_id
