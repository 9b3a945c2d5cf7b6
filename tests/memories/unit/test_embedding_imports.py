"""What starts a process does not load what only embedding needs."""

import os
import subprocess
import sys

from tests.support.paths import ROOT


def run(program: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "DJANGO_SETTINGS_MODULE": "semantix.settings",
        "GOOGLE_API_KEY": "k",
        "ENV_FILE": os.devnull,
    }
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_choosing_a_backend_imports_no_client_library() -> None:
    program = (
        "import sys; from memories.embeddings import get_backend; get_backend();"
        "print([name for name in ('google.generativeai', 'grpc', 'torch') if name in sys.modules])"
    )
    assert run(program).stdout == "[]\n"


def test_googles_library_comes_quietly_and_speaks_rest() -> None:
    program = (
        "from memories.embeddings import google;"
        "google._library(); print(google._client('k', '').transport.kind)"
    )
    finished = run(program)
    assert finished.stdout == "rest\n"
    assert finished.stderr == ""
