"""The right memories are found: a small measurement, with data of its own."""

import pytest

from memories.records.services import NewMemory, create_memories
from memories.search.search import Query, search
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

# (what was remembered, a question that it answers); the others are what it must be told from.
REMEMBERED = [
    ("The checkout failed because the currency was missing", "why did the checkout fail"),
    ("Rotated the TLS certificate of the mail relay", "when was the mail certificate rotated"),
    ("Nadia prefers answers in bullet points", "how does Nadia like her answers"),
    ("The nightly backup ran out of disk space", "backup disk space problem"),
    ("Upgraded Postgres from 17 to 18 without downtime", "upgrading Postgres"),
    ("Users in Brazil see dates with day and month swapped", "wrong dates for Brazilian users"),
    ("The scraper is rate limited to ten requests a minute", "rate limit of the scraper"),
    ("Migrated the job queue off Celery", "what happened to Celery"),
    ("A memory leak in the image resizer came from open file handles", "image resizer leaking memory"),
    ("The login page ignores the remember-me checkbox", "remember me checkbox at login"),
    ("Search results were empty when the query had a hyphen", "hyphenated queries find nothing"),
    ("Invoices are numbered by year and then by customer", "how are invoices numbered"),
    ("Tomas is on leave until the second week of March", "when is Tomas back"),
    ("The staging cluster has only two nodes", "nodes of the staging cluster"),
    ("Compression of the logs saved forty percent of storage", "how much storage did compressing logs save"),
    ("The webhook signature is checked with the raw body", "checking webhook signatures"),
]


def test_most_questions_find_their_memory_among_the_first_three() -> None:
    tenant = new_tenant()
    rows = create_memories(
        NewMemory(user_id=tenant.user_id, project_id=tenant.project_id, task=text, agent="coder")
        for text, _ in REMEMBERED
    )
    drain()

    found = [
        row.id in first(tenant, question, 3) for row, (_, question) in zip(rows, REMEMBERED, strict=True)
    ]

    assert sum(found) / len(found) >= 0.85


def first(tenant: Tenant, question: str, count: int) -> list[int]:
    return [hit.memory_log_id for hit in search(Query(text=question, tenant=tenant, limit=count))]
