"""Alice, Bob (same user, other project) and Charlie (another user) against every endpoint there is.

What the endpoints are is read from the URLs: one that is not in CHECKS fails the first test here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from memories.models import MemoryLog
from memories.models.conversation import Conversation
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.keys import memory
from tests.support.two_tenants import Actor, new_cast

pytestmark = pytest.mark.django_db

# For people who log in by name and password.
NOT_OF_THE_API = ("admin/", "static/", "favicon.ico")
TASK = "What only Alice knows about the login"
CONVERSATION = "what-only-alice-said"
SAID = {"role": "user", "content": "What only Alice said"}
NOBODY = Tenant("nobody", "nothing")


@dataclass
class Scene:
    """Alice has a memory and a conversation; the others want them."""

    alice: Actor
    outsiders: list[Actor]
    memory_id: int

    def ask(self, who: Actor, method: str, route: str, body: Any = None, **named: Any) -> Any:
        """`named` are parts of the path; without them it is Alice's."""
        parts = {
            "<int:pk>": named.get("pk", self.memory_id),
            "<str:conversation_id>": named.get("name", CONVERSATION),
            "<path:external_id>": "what-only-alice-calls-it",
        }
        for part, value in parts.items():
            route = route.replace(part, str(value))
        return who.send(method, f"/{route}", body)

    def state(self) -> tuple[list[Any], list[Any]]:
        """All that is stored."""
        memories = MemoryLog.objects.values_list("id", "task", "raw_data", "version")
        return list(memories), list(Conversation.objects.values())


@pytest.fixture
def scene(settings: Any) -> Scene:
    settings.SEMANTIX_AUTH = "required"
    alice, bob, charlie = new_cast()
    row = alice.remember(task=TASK)
    drain()
    said = alice.send("POST", f"/conversations/{CONVERSATION}/turns", alice.tenant._asdict() | SAID)
    assert said.status_code == 202
    return Scene(alice, [bob, charlie], row["id"])


Check = Callable[[Scene, str, str], None]


def public(scene: Scene, method: str, route: str) -> None:
    """Answers everybody, and with nothing of anybody's."""
    answer = Client().generic(method, f"/{route}")
    assert answer.status_code < 400
    for secret in (TASK, SAID["content"], CONVERSATION, scene.alice.tenant.user_id):
        assert secret not in answer.content.decode()


def memory_as_if_not_there(scene: Scene, method: str, route: str) -> None:
    """404 with the body that an id gets which never was; and nothing has changed."""
    body = {"task": "taken over", "agent": "charlie"} if method in ("PUT", "PATCH") else None
    before = scene.state()
    for outsider in scene.outsiders:
        same_404(scene.ask(outsider, method, route, body), scene.ask(outsider, method, route, body, pk=2**62))
    assert scene.state() == before
    assert scene.ask(scene.alice, method, route, body).status_code < 300


def lists_ones_own(scene: Scene, method: str, route: str) -> None:
    for outsider in scene.outsiders:
        assert scene.ask(outsider, method, route).json()["results"] == []
        same_403(*(scene.ask(outsider, method, f"{route}?{urlencode(t._asdict())}") for t in foreign(scene)))
    assert len(scene.ask(scene.alice, method, route).json()["results"]) == 1


def follows_ones_own(scene: Scene, method: str, route: str) -> None:
    """A stream; what flows in it is tested with the live updates."""
    for outsider in scene.outsiders:
        same_403(*(scene.ask(outsider, method, f"{route}?{urlencode(t._asdict())}") for t in foreign(scene)))


def refuses_another_tenant(body: Callable[[str, str], dict[str, Any]]) -> Check:
    """403 for a tenant that is not one's own, the same whether there is such a one or not; nothing is stored."""

    def check(scene: Scene, method: str, route: str) -> None:
        before = scene.state()
        for outsider in scene.outsiders:
            same_403(*(scene.ask(outsider, method, route, body(*tenant)) for tenant in foreign(scene)))
        assert scene.state() == before
        assert scene.ask(scene.alice, method, route, body(*scene.alice.tenant)).status_code < 300

    return check


def conversation_as_if_not_there(scene: Scene, method: str, route: str) -> None:
    """The same name is another conversation in each tenant. Naming Alice's tenant is refused."""

    def ask(who: Actor, tenant: Tenant, name: str = CONVERSATION) -> Any:
        named = tenant._asdict()
        if method in ("GET", "DELETE"):
            return scene.ask(who, method, f"{route}?{urlencode(named)}", name=name)
        return scene.ask(who, method, route, named, name=name)

    before = scene.state()
    for outsider in scene.outsiders:
        same_403(*(ask(outsider, tenant) for tenant in foreign(scene)))
        same_404(ask(outsider, outsider.tenant), ask(outsider, outsider.tenant, "never-was"))
    assert scene.state() == before
    assert ask(scene.alice, scene.alice.tenant).status_code in (200, 204)


def external_id_of_ones_own(scene: Scene, method: str, route: str) -> None:
    """An external id is another memory in each tenant; naming Alice's tenant is refused."""

    def ask(who: Actor, tenant: Tenant, method: str = method) -> Any:
        if method == "PUT":
            return scene.ask(who, method, route, memory(*tenant, task=TASK))
        return scene.ask(who, method, f"{route}?{urlencode(tenant._asdict())}")

    ask(scene.alice, scene.alice.tenant, "PUT")
    before = scene.state()
    for outsider in scene.outsiders:
        same_403(*(ask(outsider, tenant) for tenant in foreign(scene)))
        if method != "PUT":
            assert ask(outsider, outsider.tenant).status_code == 404
    assert scene.state() == before
    assert ask(scene.alice, scene.alice.tenant).status_code in (200, 204)


def receipts_of_ones_own(scene: Scene, method: str, route: str) -> None:
    """Outsiders see no receipt of Alice's; a list of theirs is empty."""
    made = scene.ask(scene.alice, "POST", "erasures", erasure(*scene.alice.tenant)).json()
    for outsider in scene.outsiders:
        if "<int:pk>" in route:
            same_404(
                scene.ask(outsider, method, route, pk=made["id"]),
                scene.ask(outsider, method, route, pk=2**62),
            )
        else:
            assert scene.ask(outsider, method, route).json()["results"] == []
    assert scene.ask(scene.alice, method, route, pk=made["id"]).status_code == 200


def deletes_ones_own(scene: Scene, method: str, route: str) -> None:
    before = scene.state()
    for outsider in scene.outsiders:
        named = (urlencode({**tenant._asdict(), "confirm": 0}) for tenant in foreign(scene))
        same_403(*(scene.ask(outsider, method, f"{route}?{query}") for query in named))
        assert scene.ask(outsider, method, f"{route}?task={quote(TASK)}&confirm=0").json()["total"] == 0
    assert scene.state() == before
    assert scene.ask(scene.alice, method, f"{route}?task={quote(TASK)}&confirm=1").status_code == 202


def deletions_of_ones_own(scene: Scene, method: str, route: str) -> None:
    made = scene.ask(scene.alice, "DELETE", f"memory-logs?task={quote(TASK)}&confirm=1").json()
    for outsider in scene.outsiders:
        same_404(
            scene.ask(outsider, method, route, pk=made["id"]), scene.ask(outsider, method, route, pk=2**62)
        )
    assert scene.ask(scene.alice, method, route, pk=made["id"]).json()["total"] == 1


def exports_ones_own(scene: Scene, method: str, route: str) -> None:
    for outsider in scene.outsiders:
        assert scene.ask(outsider, method, f"{route}?include=conversations").content == b""
        same_403(*(scene.ask(outsider, method, f"{route}?{urlencode(t._asdict())}") for t in foreign(scene)))
    assert TASK in scene.ask(scene.alice, method, route).content.decode()


def counts_ones_own(scene: Scene, method: str, route: str) -> None:
    for outsider in scene.outsiders:
        assert scene.ask(outsider, method, route).json() == {"count": 0}
        same_403(*(scene.ask(outsider, method, f"{route}?{urlencode(t._asdict())}") for t in foreign(scene)))
    assert scene.ask(scene.alice, method, route).json() == {"count": 1}


def totals_of_ones_own(scene: Scene, method: str, route: str) -> None:
    """Bob is of the same user, but his key opens one project only."""
    for outsider in scene.outsiders:
        assert scene.ask(outsider, method, route).json()["results"] == []
    charlie = scene.outsiders[1]
    same_403(*(scene.ask(charlie, method, f"{route}?user_id={t.user_id}") for t in foreign(scene)))
    assert scene.ask(scene.alice, method, route).json()["results"] == [
        {**scene.alice.tenant._asdict(), "memories": 1}
    ]


def answers_ones_own(scene: Scene, method: str, route: str) -> None:
    """Each question about another tenant is refused apart, the same whether there is such a one or not."""
    own = question(*scene.alice.tenant)
    for outsider in scene.outsiders:
        answers = scene.ask(outsider, method, route, [question(*tenant) for tenant in foreign(scene)]).json()[
            "answers"
        ]
        assert answers[0] == answers[1]
        assert answers[0]["problem"]["status"] == 403
    [answer] = scene.ask(scene.alice, method, route, [own]).json()["answers"]
    assert [hit["memory_log_id"] for hit in answer["results"]] == [scene.memory_id]


def erasure(user_id: str, project_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "project_id": project_id}


def question(user_id: str, project_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "project_id": project_id, "query": "login"}


def turn(user_id: str, project_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "project_id": project_id, **SAID}


def batch(user_id: str, project_id: str) -> list[dict[str, Any]]:
    return [memory(user_id, project_id)]


CHECKS: dict[tuple[str, str], Check] = {
    ("GET", "memory-logs"): lists_ones_own,
    ("POST", "memory-logs"): refuses_another_tenant(memory),
    ("POST", "memory-logs/batch"): refuses_another_tenant(batch),
    ("GET", "memory-logs/<int:pk>"): memory_as_if_not_there,
    ("PUT", "memory-logs/<int:pk>"): memory_as_if_not_there,
    ("PATCH", "memory-logs/<int:pk>"): memory_as_if_not_there,
    ("DELETE", "memory-logs/<int:pk>"): memory_as_if_not_there,
    ("GET", "memory-logs/external/<path:external_id>"): external_id_of_ones_own,
    ("PUT", "memory-logs/external/<path:external_id>"): external_id_of_ones_own,
    ("DELETE", "memory-logs/external/<path:external_id>"): external_id_of_ones_own,
    ("GET", "memory-logs/<int:pk>/history"): memory_as_if_not_there,
    ("POST", "memory-logs/search"): refuses_another_tenant(question),
    ("POST", "memory-logs/search/batch"): answers_ones_own,
    ("GET", "memory-logs/count"): counts_ones_own,
    ("GET", "memory-logs/<int:pk>/similar"): memory_as_if_not_there,
    ("GET", "tenants"): totals_of_ones_own,
    ("GET", "memory-logs/events"): follows_ones_own,
    ("DELETE", "memory-logs"): deletes_ones_own,
    ("GET", "memory-logs/deletions/<int:pk>"): deletions_of_ones_own,
    ("GET", "exports"): exports_ones_own,
    ("GET", "erasures"): receipts_of_ones_own,
    ("POST", "erasures"): refuses_another_tenant(erasure),
    ("GET", "erasures/<int:pk>"): receipts_of_ones_own,
    ("GET", "conversations"): lists_ones_own,
    ("GET", "conversations/<str:conversation_id>"): conversation_as_if_not_there,
    ("DELETE", "conversations/<str:conversation_id>"): conversation_as_if_not_there,
    ("POST", "conversations/turns/search"): refuses_another_tenant(question),
    ("POST", "conversations/<str:conversation_id>/turns"): refuses_another_tenant(turn),
    ("POST", "conversations/<str:conversation_id>/close"): conversation_as_if_not_there,
    ("GET", ""): public,
    ("GET", "schema"): public,
    ("GET", "docs"): public,
    ("GET", "health/live"): public,
    ("GET", "health/ready"): public,
    ("GET", "metrics"): public,
}


def foreign(scene: Scene) -> list[Tenant]:
    """One that there is, and one that there is not."""
    return [scene.alice.tenant, NOBODY]


def same_404(theirs: Any, nobodys: Any) -> None:
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content


def same_403(theirs: Any, nobodys: Any) -> None:
    assert theirs.status_code == nobodys.status_code == 403
    assert theirs.content == nobodys.content


def endpoints() -> list[tuple[str, str]]:
    """Method and route of everything that can be called."""
    found = [
        (method, route) for route, view in routes(get_resolver().url_patterns) for method in methods(view)
    ]
    return [(method, route) for method, route in found if not route.startswith(NOT_OF_THE_API)]


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def methods(view: Any) -> list[str]:
    """Of a class its handlers; of a function GET, which is all that those of this service take."""
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if view_class is None:
        return ["GET"]
    return [name.upper() for name in ("get", "post", "put", "patch", "delete") if hasattr(view_class, name)]


def test_every_endpoint_has_its_check() -> None:
    assert set(endpoints()) == set(CHECKS)


@pytest.mark.parametrize(
    ("method", "route"),
    [
        # A stream is asynchronous: another thread, another connection, which sees only what is committed.
        pytest.param(*one, marks=pytest.mark.django_db(transaction=check is follows_ones_own))
        for one, check in CHECKS.items()
    ],
)
def test_nobody_sees_or_changes_what_is_not_theirs(scene: Scene, method: str, route: str) -> None:
    CHECKS[method, route](scene, method, route)


@pytest.mark.parametrize(("method", "route"), [one for one, check in CHECKS.items() if check is not public])
def test_without_a_key_nothing_is_said(scene: Scene, method: str, route: str) -> None:
    stranger = Actor(scene.alice.tenant, Client())

    assert scene.ask(stranger, method, route).status_code == 401


def test_a_foreign_memory_costs_the_same_queries_as_none(
    scene: Scene, django_assert_num_queries: Any
) -> None:
    charlie, route = scene.outsiders[1], "memory-logs/<int:pk>"
    scene.ask(charlie, "GET", route)  # the key is remembered from here on
    for pk in (scene.memory_id, 2**62):
        with django_assert_num_queries(1):
            scene.ask(charlie, "GET", route, pk=pk)


def test_a_deleted_memory_stays_its_tenants_own_in_the_history(scene: Scene) -> None:
    scene.ask(scene.alice, "DELETE", "memory-logs/<int:pk>")

    for outsider in scene.outsiders:
        assert scene.ask(outsider, "GET", "memory-logs/<int:pk>/history").status_code == 404
    assert scene.ask(scene.alice, "GET", "memory-logs/<int:pk>/history").status_code == 200
