"""A database server that vanishes blocks nobody for long."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings

SHOW = (
    "import json; from semantix import settings; print(json.dumps(settings.DATABASES['default']['OPTIONS']))"
)


def options(url: str) -> dict[str, Any]:
    environment = os.environ | {"DATABASE_URL": url}
    run = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_a_vanished_server_is_noticed_within_half_a_minute() -> None:
    given = options("postgresql://ada@db/semantix")

    assert given["connect_timeout"] == 3
    assert given["tcp_user_timeout"] <= 30_000
    assert given["keepalives_idle"] + given["keepalives_interval"] * given["keepalives_count"] <= 30


@pytest.mark.parametrize("name", ["connect_timeout", "tcp_user_timeout", "keepalives_idle"])
def test_options_in_the_url_override_the_defaults(name: str) -> None:
    assert int(options(f"postgresql://ada@db/semantix?{name}=7")[name]) == 7
