"""Bodies of JSON share their fields, and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.http import QueryDict

from memories.api.serializers.memory_log import MemoryLogChange
from memories.api.serializers.search import SearchInput

ASKED = {"user_id": "ann", "project_id": "one", "query": "login"}


def errors(**body: Any) -> dict[str, Any]:
    search = SearchInput(data=ASKED | body)
    search.is_valid()
    return {name: [str(error) for error in found] for name, found in search.errors.items()}


def test_bodies_that_are_validated_at_the_same_time_have_their_own_errors_and_values() -> None:
    def limit(number: int) -> Any:
        search = SearchInput(data=ASKED | {"limit": number})
        return search.validated_data["limit"] if search.is_valid() else list(search.errors)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(limit, [0, 5, 101, 7] * 50)) == [["limit"], 5, ["limit"], 7] * 50


def test_a_body_of_json_copies_no_fields() -> None:
    one, other = SearchInput(data=ASKED), SearchInput(data=ASKED)

    assert one.fields is other.fields


def test_a_form_and_a_partial_change_have_fields_of_their_own() -> None:
    form = SearchInput(data=QueryDict("user_id=ann&project_id=one&query=login&filter="))
    assert form.is_valid(), form.errors
    assert "filter" in errors(filter="")

    assert MemoryLogChange(data={"task": "a"}, partial=True).is_valid()
    assert not MemoryLogChange(data={"task": "a"}).is_valid()
