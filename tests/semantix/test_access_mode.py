"""Access without a key: open on loopback, refused everywhere else."""

from typing import Any

import pytest
from django.core.checks import run_checks

from semantix.allinone.access import access
from semantix.allinone.errors import StartError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_up_is_open_unless_keys_are_required(host: str) -> None:
    assert access(host, None) == "open"
    assert access(host, "open") == "open"
    assert access(host, "required") == "required"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_on_other_addresses_up_requires_keys_and_refuses_open(host: str) -> None:
    assert access(host, None) == "required"
    with pytest.raises(StartError, match="SEMANTIX_AUTH"):
        access(host, "open")


@pytest.mark.parametrize(("mode", "refused"), [("open", True), ("required", False)])
def test_a_deployment_check_refuses_open(settings: Any, mode: str, refused: bool) -> None:
    settings.SEMANTIX_AUTH = mode

    found = {message.id for message in run_checks(include_deployment_checks=True)}

    assert ("semantix.E001" in found) is refused
    assert "semantix.E001" not in {message.id for message in run_checks()}
