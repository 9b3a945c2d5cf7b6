import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from memories.auth import api_keys
from memories.models import APIKey
from tests.support.keys import new_key
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db


def revoke(*arguments: str) -> str:
    out = StringIO()
    call_command("revoke_api_key", *arguments, stdout=out)
    return out.getvalue()


def test_a_revoked_key_opens_nothing_and_others_still_do() -> None:
    key, other = new_key("alice"), new_key("alice")

    said = revoke(key.partition(".")[0])

    assert "Revoked" in said
    assert api_keys.holder(key) is None
    assert api_keys.holder(other) is not None


def test_the_whole_key_does_too_and_twice_is_no_error() -> None:
    key = new_key("alice")

    revoke(key)
    answer = json.loads(revoke(key, "--json"))

    assert answer["prefix"] == key.partition(".")[0]
    assert answer["revoked"] is True


def test_a_key_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(CommandError, match="There is no API key 'nobody'"):
        revoke("nobody")
    assert not APIKey.objects.exists()


def test_its_requests_are_401(cast: Cast) -> None:
    assert cast.alice.get("/memory-logs").status_code == 200

    for prefix in APIKey.objects.values_list("prefix", flat=True):
        revoke(prefix)

    assert cast.alice.get("/memory-logs").status_code == 401
