import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memories.auth import api_keys

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("create_api_key", *arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_standard_output_is_the_key_alone() -> None:
    key, told = create("--user-id", "alice")

    row = api_keys.holder(key)
    assert row is not None
    assert (row.user_id, row.project_id, row.expiry_date) == ("alice", "", None)
    assert "Authorization: Bearer" in told


def test_json_tells_the_key_and_what_it_opens() -> None:
    text, _ = create(
        "--user-id", "alice", "--project-id", "p", "--name", "n", "--expires", "2099-12-31", "--json"
    )

    answer: dict[str, Any] = json.loads(text)
    key = answer.pop("key")
    assert answer == {
        "prefix": key.partition(".")[0],
        "name": "n",
        "user_id": "alice",
        "project_id": "p",
        "expires": "2099-12-31T00:00:00Z",
        "may_erase": False,
    }
    assert api_keys.holder(key) is not None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--expires", "2001-01-01"], "past"),
        (["--expires", "soon"], "soon"),
        (["--name", "x" * 51], "name"),
        (["--user-id", ""], "user_id"),
    ],
)
def test_wrong_use_makes_no_key_and_says_why(wrong: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said) as raised:
        create("--user-id", "alice", *wrong)

    assert raised.value.returncode in (1, 2)


def test_a_key_may_erase_only_where_it_was_made_so() -> None:
    key, told = create("--user-id", "alice", "--may-erase")

    row = api_keys.holder(key)
    assert row is not None
    assert row.may_erase
    assert "It may erase" in told
    assert "erase" not in create("--user-id", "alice")[1]
