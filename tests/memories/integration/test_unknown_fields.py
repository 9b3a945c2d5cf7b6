"""A body, a line of a file or a query with an unknown name is refused: ignoring it would lose data or a filter."""

from typing import Any

import pytest

from memories.models import MemoryLog
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def errors(answer: Any) -> dict[str, str]:
    assert answer.status_code == 400, answer.content
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def test_a_create_with_tags_at_its_top_is_refused_and_told_where_they_belong(cast: Cast) -> None:
    answer = cast.alice.send("POST", "/memory-logs", cast.alice.memory(tags=["auth"]))

    assert "Your own data belongs into raw_data" in errors(answer)["/tags"]
    assert not MemoryLog.objects.exists()


def test_a_misspelt_field_is_named_with_the_one_that_was_meant(cast: Cast) -> None:
    created = cast.alice.send("POST", "/memory-logs", cast.alice.memory(raw_dta={}))
    batch = cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory(), cast.alice.memory(dat="?")])
    search = {**cast.alice.tenant._asdict(), "query": "login", "agnet": "coder"}
    searched = cast.alice.send("POST", "/memory-logs/search", search)
    erased = cast.alice.send("POST", "/erasures", {**cast.alice.tenant._asdict(), "memory_log_id": [1]})

    assert "Did you mean raw_data?" in errors(created)["/raw_dta"]
    assert "Did you mean date?" in errors(batch)["/1/dat"]
    assert "Did you mean agent?" in errors(searched)["/agnet"]
    assert "Did you mean memory_log_ids?" in errors(erased)["/memory_log_id"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_with_an_unknown_field_changes_nothing(cast: Cast, method: str) -> None:
    stored = cast.alice.remember()

    answer = cast.alice.send(method, f"/memory-logs/{stored['id']}", stored | {"task": "New", "tag": "x"})

    assert list(errors(answer)) == ["/tag"]
    assert MemoryLog.objects.get().task == stored["task"]


def test_other_errors_are_told_together_with_unknown_fields(cast: Cast) -> None:
    body = cast.alice.memory(agent=7, priority=1)

    assert list(errors(cast.alice.send("POST", "/memory-logs", body))) == ["/agent", "/priority"]


def test_a_name_that_resembles_none_is_told_the_known_ones(cast: Cast) -> None:
    search = {**cast.alice.tenant._asdict(), "query": "login", "zzz": 1}

    assert (
        "There are: agent, date_from,"
        in errors(cast.alice.send("POST", "/memory-logs/search", search))["/zzz"]
    )


def test_an_answer_can_be_changed_and_sent_back(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"a": 1})
    read = cast.alice.get(f"/memory-logs/{stored['id']}", include="embedding").json()

    replaced = cast.alice.send("PUT", f"/memory-logs/{stored['id']}", read | {"task": "Bake bread"})
    copied = cast.alice.send("POST", "/memory-logs", read)

    assert (replaced.status_code, replaced.json()["task"]) == (200, "Bake bread")
    assert (copied.status_code, copied.json()["raw_data"]) == (201, {"a": 1})


def test_many_unknown_fields_cost_little_and_are_not_all_named(cast: Cast) -> None:
    body = cast.alice.memory(**{f"{'k' * 400}{n}": n for n in range(900)})

    assert len(errors(cast.alice.send("POST", "/memory-logs", body))) == 5


def test_a_misspelt_parameter_is_named_with_the_one_that_was_meant(cast: Cast) -> None:
    answer = cast.alice.get("/memory-logs", usr_id="ada")

    assert "Did you mean user_id?" in errors(answer)["/usr_id"]
