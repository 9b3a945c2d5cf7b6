"""Search by meaning, by words and by both, on real Postgres and Chroma."""

from collections.abc import Sequence
from datetime import date

import pytest
from django.conf import LazySettings

from memories.filters import Filters
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search.results import SearchHit
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant, *tasks: str, **fields: object) -> list[MemoryLog]:
    given = {"agent": "ann", "date": date(2024, 5, 8), **fields}
    return create_memories(
        NewMemory(user_id=tenant.user_id, project_id=tenant.project_id, task=task, **given)  # type: ignore[arg-type]
        for task in tasks
    )


def turns(tenant: Tenant, *summaries: str, task: str = "talk", **fields: object) -> list[MemoryLog]:
    return [remember(tenant, task, raw_data={"summary": summary}, **fields)[0] for summary in summaries]


def asked(tenant: Tenant, text: str, **options: object) -> list[SearchHit]:
    return search(Query(text=text, tenant=tenant, **options))  # type: ignore[arg-type]


def ids(found: list[SearchHit]) -> list[int]:
    return [one.memory_log_id for one in found]


def test_every_mode_answers_in_the_same_shape() -> None:
    tenant = new_tenant()
    (row,) = remember(tenant, "Fix the login redirect", raw_data={"tags": ["auth"], "severity": 2})
    drain()

    vector, lexical, hybrid = (asked(tenant, "login", mode=mode)[0] for mode in Mode)

    for found in (vector, lexical, hybrid):
        assert found.memory_log_id == row.id
        assert (found.id, found.document, found.metadata) == (vector.id, vector.document, vector.metadata)
        assert found.score > 0
    assert vector.distance == pytest.approx(hybrid.distance, abs=1e-5)
    assert vector.similarity == pytest.approx(1 - vector.distance / 2)
    assert (lexical.distance, lexical.similarity) == (None, None)


def test_by_words_and_by_both_a_memory_is_found_before_it_is_embedded() -> None:
    tenant = new_tenant()
    (row,) = remember(tenant, "Fix the login redirect")

    assert ids(asked(tenant, "login", mode=Mode.LEXICAL)) == [row.id]
    (found,) = asked(tenant, "login", mode=Mode.HYBRID)
    assert found.memory_log_id == row.id
    assert found.similarity is None


def test_by_both_finds_what_only_one_of_them_finds() -> None:
    tenant = new_tenant()
    by_parts, by_word = remember(tenant, "Reauthentication loops", "Login fails in Brazil")
    remember(tenant, *(f"Water the plants on floor {number}" for number in range(30)))
    drain()

    found = ids(asked(tenant, "authenticating Brazil", limit=3))

    assert {by_parts.id, by_word.id} <= set(found)


def test_a_changed_memory_is_found_by_its_new_words_only() -> None:
    tenant = new_tenant()
    (row,) = remember(tenant, "Fix the login redirect")
    drain()

    MemoryLog.objects.filter(id=row.id).update(task="Bake bread", content_hash="another", version=2)

    for mode in (Mode.LEXICAL, Mode.HYBRID):
        assert ids(asked(tenant, "bread", mode=mode)) == [row.id]
        assert ids(asked(tenant, "login redirect", mode=mode)) == []


def test_the_answer_beside_the_words_of_the_question_is_found_by_both() -> None:
    tenant = new_tenant()
    question, answer, *_ = turns(tenant, "Where did you go camping in June?", "To the lake with my kids!")
    turns(tenant, *(f"Unrelated remark {number}" for number in range(20)), task="another talk")
    drain()

    assert ids(asked(tenant, "camping June", limit=2)) == [question.id, answer.id]
    assert ids(asked(tenant, "camping June", mode=Mode.LEXICAL)) == [question.id]


def test_neighbours_are_of_the_same_task_and_day_whoever_writes_between_them() -> None:
    tenant = new_tenant()
    (question,) = turns(tenant, "Where did you go camping?")
    turns(tenant, "Interjection", task="another talk")
    turns(tenant, "Another day", date=date(2024, 5, 9))
    (answer,) = turns(tenant, "To the lake!")
    turns(new_tenant(), "Of another tenant")
    drain()

    assert ids(asked(tenant, "camping"))[:2] == [question.id, answer.id]


def test_the_nearer_neighbour_comes_first_and_the_third_not_at_all() -> None:
    tenant = new_tenant()
    rows = turns(tenant, "x", "x", "x", "camping", "x", "x", "x")
    drain()

    found = ids(asked(tenant, "camping"))

    assert found[0] == rows[3].id
    assert set(found[1:3]) == {rows[2].id, rows[4].id}
    assert set(found[3:5]) == {rows[1].id, rows[5].id}


def test_a_neighbour_that_has_nothing_of_its_own_is_no_answer() -> None:
    tenant = new_tenant()
    (question,) = turns(tenant, "Where did you go camping?")
    turns(tenant, "To the lake!")

    assert ids(asked(tenant, "camping")) == [question.id]


@pytest.mark.parametrize("mode", Mode)
def test_limit_is_the_most_that_is_found(mode: Mode) -> None:
    tenant = new_tenant()
    turns(tenant, *(f"login attempt {number}" for number in range(8)))
    drain()

    assert len(asked(tenant, "login", mode=mode, limit=3)) == 3


def test_by_both_no_memory_is_less_similar_than_asked_for() -> None:
    tenant = new_tenant()
    alike, _ = remember(tenant, "Fix the login redirect", "login " + "Water the plants and bake bread " * 20)
    drain()
    similar = asked(tenant, "Fix the login redirect", limit=1)[0].similarity
    assert similar is not None

    found = asked(tenant, "Fix the login redirect", min_similarity=similar - 0.01)

    assert ids(found) == [alike.id]


def test_by_both_words_do_when_the_embedder_is_away(settings: LazySettings) -> None:
    settings.EMBEDDING_BACKEND = "tests.memories.integration.test_search_modes.AwayToQuestions"
    tenant = new_tenant()
    (row,) = remember(tenant, "Fix the login redirect")
    drain()

    assert ids(asked(tenant, "login")) == [row.id]
    with pytest.raises(Unavailable):
        asked(tenant, "login", mode=Mode.VECTOR)
    with pytest.raises(Unavailable):
        asked(tenant, "login", min_similarity=0.5)


class AwayToQuestions:
    """A backend of one's own whose provider stopped answering."""

    def __init__(self, model: str, dimensions: int) -> None:
        self.model = "away"
        self.dimensions = dimensions

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0] * self.dimensions for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        raise Unavailable("embedder", "does not answer")


RAW = {"tags": ["auth", "web"], "severity": 2, "done": True, "component": "web", "ratio": 1.0, "cost": 0.5}
FILTERS = [
    Filters(task="Fix login"),
    Filters(agent="bob"),
    Filters(date_from=date(2024, 6, 1)),
    Filters(date_from=date(2024, 6, 1), date_to=date(2024, 6, 1), agent="bob"),
    Filters(tags=("auth",)),
    Filters(tags=("auth", "web")),
    Filters(raw_data={"severity": 2}),
    Filters(raw_data={"severity": 2.0}),
    Filters(raw_data={"ratio": 1}),
    Filters(raw_data={"cost": 0.5}),
    Filters(raw_data={"done": True, "component": "web"}),
    Filters(tags=("auth",), raw_data={"component": "web"}, task="Fix login", date_to=date(2024, 6, 1)),
]


@pytest.mark.parametrize("mode", Mode)
def test_filters_mean_the_same_in_every_mode(mode: Mode) -> None:
    tenant = new_tenant()
    (wanted,) = remember(tenant, "Fix login", agent="bob", date=date(2024, 6, 1), raw_data=RAW)
    other = {"tags": ["login"], "severity": 3, "done": False, "component": "web app", "ratio": "1", "cost": 5}
    remember(tenant, "Repair login", raw_data=other)
    remember(tenant, "Fix login page", raw_data={"tags": "auth", "done": 1, "severity": "2"})
    drain()

    assert len(asked(tenant, "login", mode=mode)) == 3
    for filters in FILTERS:
        assert ids(asked(tenant, "login", mode=mode, filters=filters)) == [wanted.id], filters
    for filters in (Filters(tags=("aut",)), Filters(raw_data={"severity": 4}), Filters(agent="")):
        assert asked(tenant, "login", mode=mode, filters=filters) == [], filters


def test_neighbours_meet_the_filters_too() -> None:
    tenant = new_tenant()
    (question,) = turns(tenant, "Where did you go camping?", agent="ann")
    turns(tenant, "To the lake!", agent="bob")

    assert ids(asked(tenant, "camping", filters=Filters(agent="ann"))) == [question.id]


def test_a_key_of_the_body_takes_no_place_of_ours_in_the_index() -> None:
    tenant = new_tenant()
    (row,) = remember(
        tenant, "Fix login", raw_data={"version": 7, "user_id": "mallory", "task": "Bake bread"}
    )
    drain()

    (found,) = asked(tenant, "login", mode=Mode.VECTOR, filters=Filters(task="Fix login"))

    assert found.metadata["user_id"] == tenant.user_id
    assert found.metadata["version"] == row.version
