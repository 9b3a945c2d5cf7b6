"""/metrics of a real web server and a real cluster under load: every count equals the database's."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from django.db.models import Sum
from prometheus_client.parser import text_string_to_metric_families

from outbox.models import Event, Failure, Status
from tests.support.clusters import cluster
from tests.support.keys import memory
from tests.support.processes import environment
from tests.support.published import publish
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

MEMORIES = 60
HANDLED = ("memory_log.stored", "embedding.generated", "test.copied")


class Scrape:
    def __init__(self, server: WebServer) -> None:
        text = httpx.get(f"{server.url}/metrics", timeout=60, verify=False).raise_for_status().text
        families = text_string_to_metric_families(text)
        self.samples = [sample for family in families for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels."""
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "measured"
    folder.mkdir()
    counting = {
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
        "CLUSTER_WORKERS": "2",
        "OUTBOX_MAX_ATTEMPTS": "2",
        "OUTBOX_BACKOFF_BASE_SECONDS": "0.05",
    }
    with WebServer(**environment() | counting) as running, cluster(tmp_path, **counting):
        yield running


def test_every_count_equals_the_databases(server: WebServer) -> None:
    publish("test.copied", "broken")  # lacks its version: fails twice, and is dead

    def store(number: int) -> int:
        return httpx.post(
            f"{server.url}/memory-logs", json=memory("alice", f"p{number % 3}"), timeout=60, verify=False
        ).status_code

    with ThreadPoolExecutor(4) as agents:
        answers = agents.map(store, range(MEMORIES))
        during = [Scrape(server) for _ in range(5)]
        assert Counter(answers) == {201: MEMORIES}
    wait_until(
        lambda: not Event.objects.filter(status__in=[Status.PENDING, Status.CLAIMED]).exists(), seconds=60
    )
    # An outcome is told right after it was recorded.
    wait_until(lambda: Scrape(server).total("semantix_outbox_attempts_total") == 2 * MEMORIES + 2)

    after = Scrape(server)
    for type in HANDLED:
        for outcome, count in attempts_of(type).items():
            assert after.total("semantix_outbox_attempts_total", event_type=type, outcome=outcome) == count
        delivered = Event.objects.filter(type=type, status=Status.DELIVERED).count()
        assert after.total("semantix_outbox_delivery_seconds_count", event_type=type) == delivered
        assert after.total("semantix_outbox_handler_seconds_count", event_type=type) > 0
    attempts = Event.objects.filter(type__in=HANDLED).aggregate(Sum("attempts"))["attempts__sum"]
    assert after.total("semantix_outbox_claimed_events_total") == attempts
    assert after.total("semantix_outbox_claim_seconds_count") > 0
    assert after.total("semantix_embedded_texts_total") == MEMORIES
    assert after.total("semantix_index_upserted_vectors_total") == MEMORIES
    assert after.total("semantix_http_requests_total", method="POST", status="201") == MEMORIES
    delivered = Event.objects.filter(status=Status.DELIVERED).count()
    assert after.total("semantix_outbox_events", status="delivered") == delivered
    assert after.total("semantix_outbox_events", status="dead") == 1
    told = [scrape.total("semantix_outbox_attempts_total") for scrape in [*during, after]]
    assert told == sorted(told)


def attempts_of(type: str) -> dict[str, int]:
    """The database's attempts by outcome."""
    failures = Failure.objects.filter(event__type=type)
    dead = Event.objects.filter(type=type, status=Status.DEAD).count()
    return {
        "delivered": Event.objects.filter(type=type, status=Status.DELIVERED).count(),
        "failed": failures.count() - dead,
        "dead": dead,
    }
