"""Real Postgres and Chroma for the tests, in a throw-away folder. Loaded before Django reads its settings.

Workers of pytest-xdist inherit the environment and start nothing.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from semantix.embedded import chroma, postgres

ROOT = Path(__file__).resolve().parent.parent


# A wrapper runs before every other implementation, so before pytest-django's, which imports the settings.
@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        stack = ExitStack()
        early_config.add_cleanup(stack.close)
        forget_the_developers_settings()
        start_services(stack)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have tmp_path below our folder: each run of pytest closes the usual place to other accounts, and where the
    tests run as root, the Postgres of another run beside it works there as one of them."""
    if config.option.basetemp is None:
        config.option.basetemp = Path(os.environ["DATA_DIR"]) / "tmp"


def forget_the_developers_settings() -> None:
    """Tests run on the defaults, whatever this shell or a .env says."""
    os.environ["ENV_FILE"] = os.devnull
    for name in re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE):
        if name != "ENV_FILE":
            os.environ.pop(name, None)


def start_services(stack: ExitStack) -> None:
    data = Path(tempfile.mkdtemp(prefix="semantix-tests-"))
    stack.callback(shutil.rmtree, data, ignore_errors=True)
    database = postgres.start(data / "postgres", log=data / "postgres.log", settings=postgres.NOT_DURABLE)
    stack.callback(database.stop)
    index = chroma.start(data / "chromadb", log=data / "chroma.log")
    stack.callback(index.stop)
    os.environ |= {
        "DATA_DIR": str(data),
        "DATABASE_URL": database.url,
        "CHROMA_URL": index.url,
        "SECRET_KEY": "only-for-the-tests",
        "SEMANTIX_AUTH": "open",
    }
