from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from memories.api.live import admission
from memories.auth import api_keys
from tests.support.two_tenants import Cast, new_cast


@pytest.fixture(autouse=True)
def _checks_of_streams_leave_no_connection() -> Iterator[None]:
    """A test that opens a stream in this process: the thread that checked its key would keep its connection."""
    yield
    if admission.thread._threads:  # noqa: SLF001
        admission.thread.submit(lambda: connection.close()).result()


@pytest.fixture
def cast(settings: Any) -> Cast:
    settings.SEMANTIX_AUTH = "required"
    api_keys.forget()
    return new_cast()
