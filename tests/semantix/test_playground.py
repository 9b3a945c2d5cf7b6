"""The page that tries a search: for those who may view memories, and it says what is wrong with a search."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from memories.records.services import NewMemory, create_memory
from memories.tenants import Tenant
from outbox.models import Event
from outbox.publishing import background
from outbox.publishing.background import flush
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/search"


@pytest.fixture
def tenant() -> Tenant:
    return new_tenant()


@pytest.fixture
def victor() -> Client:
    """A person who may view memories, and nothing else."""
    user = User.objects.create_user("victor", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_memorylog"))
    client = Client()
    client.force_login(user)
    return client


def store(tenant: Tenant, summary: str, **more: Any) -> int:
    given = {"task": "Fix it", "agent": "coder", "raw_data": {"summary": summary}} | more
    return create_memory(NewMemory(**tenant._asdict(), **given)).pk


def searched(client: Client, tenant: Tenant, **more: str) -> str:
    form = {"query": "session cookie", "mode": "hybrid", "limit": "10", **tenant._asdict(), **more}
    answer = client.post(PAGE, form)
    assert answer.status_code == 200
    return answer.content.decode()


def searches_of(tenant: Tenant) -> int:
    """Recorded searches. They are written in the background: those of other tests may arrive now."""
    flush()
    return Event.objects.filter(type="vector.searched", aggregateid="/".join(tenant)).count()


def test_each_hit_says_why_it_stands_where_it_does(victor: Client, tenant: Tenant) -> None:
    memory = store(tenant, "The session cookie was lost")
    drain()

    shown = searched(victor, tenant)

    assert "Place 1 by words, place 1 by meaning. Its score is 1.40." in shown
    assert "It has the words: session, cooki." in shown
    assert f"/admin/memories/memorylog/{memory}/change/" in shown
    assert "Vectors were compared by Chroma." in shown
    assert background.flush(60)
    assert not searches_of(tenant)


def test_the_form_keeps_what_was_asked(victor: Client, tenant: Tenant) -> None:
    shown = searched(victor, tenant, agent="planner", mode="lexical")

    assert 'value="planner"' in shown
    assert '<option value="lexical" selected>' in shown
    assert "No memory matches." in shown


def test_filters_narrow_the_search(victor: Client, tenant: Tenant) -> None:
    store(tenant, "The session cookie was lost")
    store(tenant, "The session cookie was found", agent="planner")

    shown = searched(victor, tenant, filter='{"agent": "planner"}')

    assert "was found" in shown
    assert "was lost" not in shown


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"filter": "{"}, "filter: "),
        ({"filter": '{"agent": {"nonsense": 1}}'}, "filter: "),
        ({"date_from": "yesterday"}, "date_from: "),
        ({"limit": "1000"}, "less than or equal to 50"),
        ({"user_id": ""}, "This field is required."),
    ],
)
def test_a_wrong_search_is_told_what_is_wrong(
    victor: Client, tenant: Tenant, wrong: dict[str, str], told: str
) -> None:
    assert told in searched(victor, tenant, **wrong)


def test_text_is_escaped(victor: Client, tenant: Tenant) -> None:
    store(tenant, "session cookie <script>alert(1)</script>", task="<script>alert(2)</script>")

    shown = searched(victor, tenant, query="session <script>alert(3)</script>")

    assert "<script>alert" not in shown


def test_while_the_embedder_is_away_words_still_find(victor: Client, tenant: Tenant, settings: Any) -> None:
    store(tenant, "The session cookie was lost")
    drain()
    settings.EMBEDDING_BACKEND = "nonsense"

    assert "1 memory." in searched(victor, tenant, mode="lexical")


def test_whoever_may_not_view_memories_may_not_search_them(tenant: Tenant) -> None:
    User.objects.create_user("curt", is_staff=True)
    curt = Client()
    curt.force_login(User.objects.get(username="curt"))

    assert curt.get(PAGE).status_code == 403
    assert curt.post(PAGE, {"query": "x", **tenant._asdict()}).status_code == 403


def test_the_live_page_tells_staff_that_only_a_superuser_may_follow(victor: Client) -> None:
    shown = victor.get("/admin/live").content.decode()

    assert "only a superuser may follow them" in shown
    assert "live.js" not in shown
