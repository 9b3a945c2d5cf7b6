"""Each step of the runbook is run where its symptom is, and cures it."""

import re
import shlex
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from memories.index import generations
from memories.index.client import get_client
from memories.models import APIKey, Erasure, MemoryLog
from memories.records.services import NewMemory, create_memory
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.models import Event, Status
from outbox.operations import problems
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.admin_rows import dead_letter
from tests.support.clusters import cluster
from tests.support.events import stored
from tests.support.indexed import collection_of, held
from tests.support.paths import ROOT
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (ROOT / "docs/how-to/operate/runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
# It is about a server that is not there: tests/semantix/test_postgres_away.py.
ELSEWHERE = {"Requests fail"}


class Said(NamedTuple):
    """What a command printed, and whether it ended with 0."""

    text: str
    ok: bool


def typed(section: str) -> list[str]:
    """The commands of the section, without `python manage.py` and the comment."""
    found = re.findall(r"^\$ (.*?)(?:\s+#.*)?$", SECTIONS[section], re.MULTILINE)
    assert found, section
    return found


def run(command: str) -> Said:
    name, *arguments = shlex.split(command.removeprefix("python manage.py "))
    out, error = StringIO(), ""
    try:
        call_command(name, *arguments, stdout=out, stderr=out)
    except CommandError as raised:
        error = str(raised)
    return Said(out.getvalue() + error, ok=not error)


def do(section: str, *more: str) -> list[Said]:
    """Type the commands of the section with `more` options, one after the other; what they publish is delivered."""
    said = []
    for command in typed(section):
        said.append(run(" ".join([command, *more])))
        drain()
    return said


@pytest.fixture
def tenant() -> Tenant:
    return new_tenant()


@pytest.fixture
def memory(tenant: Tenant) -> MemoryLog:
    """A memory whose event waits."""
    return create_memory(NewMemory(**tenant._asdict(), task="Fix it", agent="coder"))


@pytest.fixture
def indexed(memory: MemoryLog) -> MemoryLog:
    drain()
    memory.refresh_from_db()
    return memory


def only(memory: MemoryLog) -> list[str]:
    """The options for one tenant: other tests have left collections in the same Chroma."""
    return ["--user-id", memory.user_id]


def found_problems() -> set[str]:
    return {problem.kind for problem in problems.find()}


def test_every_section_with_something_to_type_is_tried_here() -> None:
    source = Path(__file__).read_text()
    tried = set(re.findall(r'(?:do|typed)\("(.+?)"', source)) | ELSEWHERE

    assert tried == SECTIONS.keys()


def test_every_symptom_of_the_table_leads_to_a_section() -> None:
    leads = re.findall(r"\| \[(.+?)\]\(#(.+?)\) \|$", PAGE, re.MULTILINE)

    assert {title for title, _ in leads} == SECTIONS.keys()
    assert all(anchor == title.lower().replace(" ", "-") for title, anchor in leads)


def test_every_action_that_the_page_names_is_one_of_the_admin() -> None:
    assert get_resolver().url_patterns
    names = {
        str(getattr(action, "short_description", ""))
        for page in admin.site._registry.values()  # noqa: SLF001
        for action in page.actions or ()
    }

    assert set(re.findall(r"\*([A-Z][a-z ]+ …)\*", PAGE)) <= names


def test_a_cluster_is_started_where_none_runs_and_events_wait(memory: MemoryLog, tmp_path: Path) -> None:
    """One cluster for both sections: to start one takes seconds."""
    Event.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert typed("No cluster runs") == ["python manage.py qcluster"]
    [command] = typed("Events wait too long")
    variable, _, program = command.partition(" ")
    assert program == "python manage.py qcluster"
    assert "cluster" in found_problems()

    with cluster(tmp_path, **dict([variable.split("=")])):
        wait_until(lambda: MemoryLog.objects.filter(pk=memory.pk, indexed_version=1).exists(), seconds=60)
        assert "cluster" not in found_problems()


def test_dead_letters_are_delivered_after_a_retry(indexed: MemoryLog, tenant: Tenant) -> None:
    event = dead_letter(tenant, indexed.pk)
    assert "dead" in found_problems()

    [said] = do("Events are dead letters")

    assert said == Said("1 event will be delivered again.\n", ok=True)
    event.refresh_from_db()
    assert event.status == Status.DELIVERED
    assert event.interventions.get().reason == "the index takes it again"


def test_the_doctor_tells_when_an_outage_is_over(memory: MemoryLog) -> None:
    circuits.open_circuit(Unavailable("chroma", "it is restarted", retry_after=600))
    [command] = typed("A dependency is away")
    during = run(command)
    circuits.close_circuit("chroma")  # as the next event does that is tried with success
    drain()
    after = run(command)

    assert "chroma" in during.text
    assert "it is restarted" in during.text
    assert "it is restarted" not in after.text
    memory.refresh_from_db()
    assert memory.indexed_version == 1


@pytest.mark.parametrize(
    "section", ["A dependency has to be maintained", "An event type has to stop"], ids=["dependency", "type"]
)
def test_events_wait_while_they_are_paused(section: str, memory: MemoryLog) -> None:
    pause, resume = typed(section)  # do("A dependency has to be maintained"), do("An event type has to stop")

    assert run(pause).ok
    drain()
    memory.refresh_from_db()
    assert memory.embedded_hash
    assert memory.indexed_version is None

    assert run(resume).ok
    drain()
    memory.refresh_from_db()
    assert memory.indexed_version == 1


def test_a_missing_document_is_found_and_repaired(indexed: MemoryLog) -> None:
    collection_of(indexed.tenant).delete(ids=collection_of(indexed.tenant).get()["ids"])

    differ, repaired, equal = do("The stores differ", *only(indexed))

    assert (differ.ok, repaired.ok, equal.ok) == (False, False, True)
    assert "1 repair event published" in repaired.text
    assert held(indexed)


def test_lost_collections_are_filled_again(indexed: MemoryLog) -> None:
    active = generations.of_tenant(indexed.tenant).active
    assert active
    get_client().delete_collection(active.collection)

    rebuilt, equal = do("The index is lost", *only(indexed))

    assert "1 memory of 1 tenant indexed" in rebuilt.text
    assert (rebuilt.ok, equal.ok) == (True, True)


def test_missing_embeddings_are_made(indexed: MemoryLog) -> None:
    MemoryLog.objects.update(embedding=None, embedded_hash="", embedding_model="")

    [said] = do("Embeddings are missing")

    assert said == Said("1 memory embedded, 0 left without an embedding.\n", ok=True)


def test_a_refused_client_gets_a_key(client: Client, settings: Any) -> None:
    settings.SEMANTIX_AUTH = "required"
    assert client.get("/memory-logs").status_code == 401

    [said] = do("A client has no key")

    row = APIKey.objects.get()
    [key] = re.findall(rf"{row.prefix}\.\w+", said.text)
    assert client.get("/memory-logs", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_old_events_are_deleted() -> None:
    old = stored("test.noted", Status.DELIVERED)
    long_ago = timezone.now() - timedelta(days=8)
    Event.objects.filter(pk=old.pk).update(created_at=long_ago, delivered_at=long_ago)

    [said] = do("The table of events is large")

    assert said == Said("Deleted 1 event.\n", ok=True)


@pytest.fixture
def _ada() -> None:
    create_memory(NewMemory(user_id="ada", project_id="demo", task="A secret", agent="coder"))
    drain()


@pytest.mark.usefixtures("_ada")
def test_a_person_is_forgotten() -> None:
    [said] = do("A person has to be forgotten")

    assert said.ok
    assert Erasure.objects.get().verified
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM memory_versions WHERE user_id = 'ada'")
        assert cursor.fetchone() == (0,)
