"""The last lines of a start can be copied and run unchanged."""

import sys

import pytest
from django.conf import settings

from semantix.allinone.announcement import announcement


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        (f"{settings.BASE_DIR}/.venv/bin/python", ".venv/bin/python"),
        ("/opt/my programs/python", "'/opt/my programs/python'"),
    ],
)
def test_printed_commands_name_the_python_of_the_virtual_environment(
    python: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)

    text = announcement("http://localhost:8000", "required", None)

    assert f"{typed} manage.py changepassword admin" in text
    assert f"KEY=$({typed} manage.py create_api_key --user-id ada)" in text
