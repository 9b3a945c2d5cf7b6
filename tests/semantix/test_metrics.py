"""/metrics compared with the content of the database."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

import outbox
from outbox.models import Event

pytestmark = pytest.mark.django_db(transaction=True)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(client: Client) -> Samples:
    text = client.get("/metrics").content.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def publish(count: int) -> None:
    with transaction.atomic():
        for number in range(count):
            outbox.publish(
                "embedding.generated", aggregate=("memory_vector", number), payload={"memory_id": number}
            )


def waiting(samples: Samples, status: str) -> float:
    return samples["semantix_outbox_events", (("event_type", "embedding.generated"), ("status", status))]


def test_events_are_counted_by_type_and_status(client: Client) -> None:
    publish(3)
    Event.objects.filter(aggregateid="0").update(status="dead")

    samples = scrape(client)

    assert waiting(samples, "pending") == 2
    assert waiting(samples, "dead") == 1
    assert samples["semantix_outbox_oldest_pending_seconds", (("event_type", "embedding.generated"),)] > 0


def test_an_event_type_without_waiting_events_is_reported_as_zero(client: Client) -> None:
    assert waiting(scrape(client), "pending") == 0


def test_a_scrape_does_not_count_delivered_events(client: Client, django_assert_max_num_queries: Any) -> None:
    """The last minute may have a million deliveries, so no query counts them."""
    with django_assert_max_num_queries(10) as asked:
        scrape(client)

    counting = [query["sql"] for query in asked.captured_queries if "delivered" in query["sql"]]
    assert all("LIMIT" in sql or "reltuples" in sql for sql in counting), counting


def test_an_open_circuit_is_reported(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_circuit (dependency, types, failures, reason, opened_at, open_until) "
            "VALUES ('chroma', '{}', 1, 'refused', now(), now() + interval '1 minute')"
        )

    assert scrape(client)["semantix_outbox_circuit_open", (("dependency", "chroma"),)] == 1


def test_requests_are_counted_by_route_and_status(client: Client) -> None:
    labels = (("method", "GET"), ("route", "/memory-logs/<int:pk>"), ("status", "404"))
    before = scrape(client).get(("semantix_http_requests_total", labels), 0)

    client.get("/memory-logs/123456789")
    client.get("/memory-logs/987654321")

    assert scrape(client)["semantix_http_requests_total", labels] == before + 2


def test_a_token_is_required_where_one_is_set(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = "a-token"

    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a-token"}).status_code == 200
