"""docs/reference/settings.md lists the settings of .env.example with their defaults, and no other."""

import re

import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "docs/reference/settings.md").read_text()
EXAMPLE = dict(re.findall(r"^# ([A-Z][A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
ROWS = dict(re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \| (.+) \|$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", EXAMPLE)
def test_every_setting_is_listed_with_its_value(name: str) -> None:
    value = EXAMPLE[name]

    assert name in ROWS, f"Add {name} to docs/reference/settings.md"
    assert not value or f"`{value}`" in ROWS[name]


def test_no_setting_is_listed_that_does_not_exist() -> None:
    assert ROWS.keys() <= EXAMPLE.keys()
