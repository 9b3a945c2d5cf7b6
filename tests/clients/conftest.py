"""A running service for the clients: the web server and a cluster over the test's database."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from memories.tenants import Tenant
from tests.support.clusters import cluster, url_of_the_tests_database
from tests.support.keys import new_key
from tests.support.tenants import new_tenant
from tests.support.web_server import WebServer


@pytest.fixture(scope="package")
def service(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service, which asks for keys."""
    folder: Path = tmp_path_factory.mktemp("service")
    database = url_of_the_tests_database()
    with (
        WebServer(DATABASE_URL=database, SEMANTIX_AUTH="required", API_KEY_CACHE_SECONDS="0") as web,
        cluster(folder, database_url=database),
    ):
        yield web.url


class Account(NamedTuple):
    """A tenant and its key."""

    tenant: Tenant
    key: str


@pytest.fixture
def account() -> Account:
    tenant = new_tenant()
    return Account(tenant, new_key(*tenant))


@pytest.fixture
def stranger() -> Account:
    tenant = new_tenant()
    return Account(tenant, new_key(*tenant))
