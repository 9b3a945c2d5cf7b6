"""A web server that is asked to stop: requests are finished, live streams end at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from django.db import connection, transaction

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory
from tests.support.clusters import url_of_the_tests_database
from tests.support.live import Stream, listen
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def is_waiting_for_the_row() -> bool:
    with connection.cursor() as cursor:
        # A transaction sees the sessions as they were when it looked first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(WAITING)
        return bool(cursor.fetchone()[0])


def read_to_its_end(stream: Stream) -> None:
    with suppress(httpx.TransportError, ConnectionError):
        while True:
            stream.next()


def test_a_request_is_finished_while_a_live_stream_ends() -> None:
    tenant = new_tenant()
    row = create_memory(NewMemory(**tenant._asdict(), task="Bake bread", agent="ada"))
    with (
        WebServer(DATABASE_URL=url_of_the_tests_database()) as server,
        ThreadPoolExecutor(1) as thread,
        listen(server.url, **tenant._asdict()) as stream,
    ):
        with transaction.atomic():
            MemoryLog.objects.select_for_update().get(id=row.id)
            patch = thread.submit(
                httpx.patch,
                f"{server.url}/memory-logs/{row.id}",
                json={"task": "Bake sourdough"},
                timeout=60,
                verify=False,
            )
            wait_until(is_waiting_for_the_row)

            server.ask_to_stop()

            read_to_its_end(stream)
            assert not patch.done()

        assert patch.result().status_code == 200
