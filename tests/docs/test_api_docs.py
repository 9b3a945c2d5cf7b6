"""docs/reference/api.md names everything that a client of the API can meet."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from rest_framework import exceptions

from memories.api import errors, limits
from semantix.web.problem_pages import FAILED, KNOWN
from tests.memories.integration.test_tenants_apart import endpoints

TEXT = (Path(settings.BASE_DIR) / "docs/reference/api.md").read_text()
CODES = {
    error.default_code
    for module in (errors, exceptions)
    for error in vars(module).values()
    if isinstance(error, type) and issubclass(error, exceptions.APIException)
} | {code for code, _ in [*KNOWN.values(), FAILED]}


def documented(route: str) -> str:
    return "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route).replace("{pk}", "{id}")


@pytest.mark.parametrize(("method", "route"), endpoints())
def test_every_endpoint_is_there(method: str, route: str) -> None:
    assert re.search(rf"\| `{method}` \|[^|]*`{re.escape(documented(route))}`", TEXT)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_of_a_problem_is_there(code: str) -> None:
    assert f"`{code.replace('_', '-')}`" in TEXT


@pytest.mark.parametrize("name", [name for name in vars(limits) if name.isupper()])
def test_every_limit_is_there(name: str) -> None:
    if name != "DIGITS":  # an integer so long is beyond 64 bits already
        assert f"{getattr(limits, name):,}" in TEXT


@pytest.mark.parametrize(
    "name", ["MAX_BODY_BYTES", "BATCH_MAX_ITEMS", "SEMANTIX_AUTH", "API_KEY_CACHE_SECONDS", "THROTTLE_RATE"]
)
def test_every_setting_of_the_api_is_there(name: str) -> None:
    assert f"`{name}" in TEXT
