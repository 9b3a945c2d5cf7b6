"""The outbox is copied into a new Django project with the admin, and its pages are read there block by block."""

from collections.abc import Iterator

import pytest

from tests.support.documented.blocks import blocks_of
from tests.support.documented.shop import HOW_TO, INSTALLATION, Shop

LOOK_AT_THE_ADMIN = """
from django.contrib.auth.models import User
from django.test import Client
from outbox.models import Event

client = Client(headers={"host": "localhost"})
client.force_login(User.objects.get(username="ada"))
for path in ("event/", f"event/{Event.objects.get().pk}/change/", "circuit/"):
    answer = client.get(f"/admin/outbox/{path}")
    print(path.partition("/")[0], answer.status_code, "order.placed" in answer.content.decode())
"""
DELIVER = """
from outbox.testing import drain
from orders.models import Order

drain()
print(Order.objects.latest("pk").receipt)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The project after its owner has read how to install the outbox, with an event that a cluster delivered."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    try:
        shop.read(blocks_of(INSTALLATION), shop.folder)
        yield shop
    finally:
        shop.remove()


def test_it_is_installed_as_the_page_says_and_a_cluster_delivers(shop: Shop) -> None:
    assert shop.ask("SELECT type, status FROM outbox_event") == [("order.placed", "delivered")]


def test_a_project_that_patches_nothing_shows_the_events_in_its_admin(shop: Shop) -> None:
    pages = shop.python(LOOK_AT_THE_ADMIN).splitlines()

    assert pages == ["event 200 True", "event 200 True", "circuit 200 False"]


def test_a_handler_is_written_and_tested_as_the_page_says(shop: Shop) -> None:
    shop.read(blocks_of(HOW_TO / "write-a-handler.md"), shop.project)


def test_a_task_of_django_is_an_event(shop: Shop) -> None:
    shop.read(blocks_of(HOW_TO / "use-django-tasks.md"), shop.project)

    assert shop.python(DELIVER) == "12 EUR, with thanks"
