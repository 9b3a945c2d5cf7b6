"""The package of the Python client: its wheel in an empty environment, its README, and the retriever for LangChain."""

import asyncio
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from semantix_client import AsyncSemantix, Semantix
from semantix_client.langchain import SemantixRetriever
from tests.clients.conftest import Account
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

PACKAGE = ROOT / "clients" / "python"


def python(environment: Path) -> str:
    return str(environment / "bin" / "python")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel and what it needs, taken from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, *build, str(PACKAGE)], check=True)
    [wheel] = folder.glob("semantix_client-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    subprocess.run([python(environment), "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    return environment


def test_the_example_of_the_readme_runs_from_the_wheel(
    installed: Path, service: str, account: Account
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    user, project = account.tenant
    here = f'Semantix("{service}", "{account.key}", user_id="{user}", project_id="{project}")'
    example = re.sub(r"Semantix\(.*\)", here, example, count=1)

    run = subprocess.run([python(installed), "-c", example], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert "Fix the login timeout {'solution': 'Refresh the token first.'}" in run.stdout


def test_a_retriever_finds_memories_as_documents(service: str, account: Account) -> None:
    with Semantix(service, account.key, *account.tenant) as client:
        memory = client.remember(task="Fix the login timeout", raw_data={"solution": "retry"}, wait=20)

        [document] = SemantixRetriever(client=client, filters={"agent": "agent"}).invoke("login timeout")

    assert document.id == str(memory.id)
    assert "Fix the login timeout" in document.page_content
    assert document.metadata["raw_data"] == {"solution": "retry"}


def test_a_retriever_works_asynchronously(service: str, account: Account) -> None:
    async def work() -> list[str]:
        async with AsyncSemantix(service, account.key, *account.tenant) as client:
            await client.remember(task="Fix the login timeout", wait=20)
            found = await SemantixRetriever(client=None, async_client=client).ainvoke("login")
            return [document.metadata["task"] for document in found]

    assert asyncio.run(work()) == ["Fix the login timeout"]
