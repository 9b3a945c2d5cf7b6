"""An operator finds a memory in the admin, and its page says where it stands.

Costs are bounded, and text is escaped.
"""

import re
from datetime import date as Date
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memories.models import Erasure, MemoryLog
from memories.records.services import NewMemory, create_memory, delete_memory, update_memory
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/memories/memorylog/"


@pytest.fixture
def olga() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    return client


def client_with(*permissions: str) -> Client:
    """A person of the staff with these permissions and no others."""
    victor = User.objects.create_user("victor", is_staff=True)
    victor.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(victor)
    return client


def store(tenant: Tenant, task: str, **more: Any) -> int:
    return create_memory(NewMemory(**tenant._asdict(), **({"task": task, "agent": "coder"} | more))).pk


def page(client: Client, path: str, **query: Any) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def listed(client: Client, **query: Any) -> list[int]:
    """The ids of the list, in its order."""
    return [row.pk for row in client.get(LIST, query).context["cl"].result_list]


def memory_page(client: Client, memory_id: int) -> str:
    return page(client, f"{LIST}{memory_id}/change/")


class TestFinding:
    def test_words_of_a_memorys_body_find_it_in_any_tenant(self, olga: Client) -> None:
        one = store(new_tenant(), "Fix it", raw_data={"summary": "the certificate of the relay had expired"})
        store(new_tenant(), "Fix it", raw_data={"summary": "the certificate was never there"})

        assert listed(olga, q="expired certificate") == [one]

    def test_words_in_one_tenant_are_ranked_best_first(self, olga: Client) -> None:
        tenant = new_tenant()
        best = store(tenant, "Renew the certificate", raw_data={"summary": "certificate of the relay"})
        other = store(tenant, "Restart the relay")
        store(new_tenant(), "Renew the certificate of the relay")

        assert listed(olga, q="certificate relay", **tenant._asdict()) == [best, other]

    def test_words_in_all_projects_of_a_user(self, olga: Client) -> None:
        tenant = new_tenant()
        ids = [store(Tenant(tenant.user_id, project), "Renew the certificate") for project in ("one", "two")]
        store(new_tenant(), "Renew the certificate")

        assert listed(olga, q="certificate", user_id=tenant.user_id) == ids[::-1]

    def test_an_id_finds_its_memory(self, olga: Client) -> None:
        tenant = new_tenant()
        one = store(tenant, "Fix it")
        store(tenant, "Fix it again")

        assert listed(olga, q=str(one)) == [one]

    @pytest.mark.parametrize("words", ["the", "!!!", "nowhere", "x" * 5_000])
    def test_words_that_no_memory_has_find_none(self, olga: Client, words: str) -> None:
        store(new_tenant(), "Fix it")

        assert listed(olga, q=words) == []

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"agent": "planner"}, "b"),
            ({"date_from": "2026-02-01"}, "b"),
            ({"date_to": "2026-01-31"}, "a"),
            ({"date_from": "2026-01-02", "date_to": "2026-01-02", "agent": "coder"}, "a"),
            ({"changed": "yes"}, "a"),
            ({"changed": "no"}, "b"),
            ({"sync": "pending"}, "ba"),
            ({"sync": "indexed"}, ""),
            ({"date_from": "nonsense"}, "ba"),
            ({"agent": "pla\x00nner"}, "b"),
        ],
    )
    def test_filters_by_agent_date_version_and_status(
        self, olga: Client, query: dict[str, str], found: str
    ) -> None:
        tenant = new_tenant()
        ids = {
            "a": store(tenant, "Fix it", date=Date(2026, 1, 2)),
            "b": store(tenant, "Fix it", date=Date(2026, 3, 4), agent="planner"),
        }
        update_memory(ids["a"], {"task": "Fix it well"})
        store(new_tenant(), "Fix it", agent="planner", date=Date(2026, 1, 2))

        assert listed(olga, **tenant._asdict(), **query) == [ids[name] for name in found]

    def test_the_list_reads_no_bodies(self, olga: Client) -> None:
        store(new_tenant(), "Fix it", raw_data={"log": "x" * 100_000})
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page(olga, LIST)

        reading = [query["sql"] for query in queries if 'FROM "memory_logs"' in query["sql"]]
        assert reading
        assert not [sql for sql in reading if '"memory_logs"."raw_data"' in sql]


class TestPage:
    def test_each_version_says_what_it_changed(self, olga: Client) -> None:
        memory = store(new_tenant(), "Fix it", raw_data={"summary": "it was broken"})
        update_memory(memory, {"raw_data": {"summary": "it was <b>lost</b>"}})

        shown = memory_page(olga, memory)

        assert '-  "summary": "it was broken"' in unescape(shown)
        assert '+  "summary": "it was &lt;b&gt;lost' in shown.replace("&quot;", '"')
        assert shown.count("<b>lost") == 0

    def test_versions_and_bodies_of_a_megabyte_are_cut(self, olga: Client) -> None:
        memory = store(new_tenant(), "Fix it", raw_data={"log": "x" * 900_000})
        update_memory(memory, {"raw_data": {"log": "y" * 900_000}})

        shown = memory_page(olga, memory)

        assert len(shown) < 300_000
        assert "too large to compare here" in shown
        assert "These are the first 20,000 of" in shown

    def test_many_versions_show_the_newest_and_where_the_others_are(self, olga: Client) -> None:
        memory = store(new_tenant(), "Fix it")
        for number in range(25):
            update_memory(memory, {"task": f"Fix it, try {number}"})

        shown = memory_page(olga, memory)

        assert "version 26" in shown
        assert "version 5<" not in shown
        assert f"GET /memory-logs/{memory}/history" in shown

    def test_the_history_button_leads_to_the_versions(self, olga: Client) -> None:
        memory = store(new_tenant(), "Fix it")

        answer = olga.get(f"{LIST}{memory}/history/")

        assert answer["Location"] == f"{LIST}{memory}/change/#versions"
        assert 'id="versions"' in memory_page(olga, memory)

    def test_it_says_what_the_index_holds(self, olga: Client) -> None:
        memory = store(new_tenant(), "Fix it", raw_data={"summary": "it was broken"})
        before = memory_page(olga, memory)
        drain()

        indexed = memory_page(olga, memory)
        MemoryLog.objects.filter(pk=memory).update(version=7)
        stale = memory_page(olga, memory)

        assert "The tenant has no collection yet" in before
        assert "holds version 1, the same as PostgreSQL." in indexed
        assert "document and metadata" in indexed
        assert "holds version 1. PostgreSQL has version 7." in stale

    def test_each_part_of_the_page_is_computed_once(self, olga: Client) -> None:
        memory = store(new_tenant(), "Fix it")
        drain()
        with CaptureQueriesContext(connection) as queries:
            memory_page(olga, memory)

        events = [query["sql"] for query in queries if query["sql"].startswith('SELECT "outbox_event"')]
        assert len(events) == 1

    def test_it_opens_while_the_index_is_away(self, olga: Client, settings: Any) -> None:
        memory = store(new_tenant(), "Fix it")
        drain()
        settings.CHROMA_URL = "http://127.0.0.1:9"

        shown = memory_page(olga, memory)
        assert "It is not known: chroma is unavailable" in shown


class TestErasing:
    def erase(self, client: Client, *ids: int, **more: str) -> Any:
        form = {"action": "erase", "_selected_action": list(ids), **more}
        return client.post(LIST, form)

    def test_an_erasure_of_selected_memories_counts_before_it_is_confirmed(self, olga: Client) -> None:
        tenant, other = new_tenant(), new_tenant()
        ids = [store(tenant, "Fix it"), store(tenant, "Fix that"), store(other, "Fix all")]

        asked = self.erase(olga, *ids).content.decode()
        assert not Erasure.objects.exists()
        self.erase(olga, *ids, confirmed="yes")

        assert "Erase 3 memories" in asked
        receipts = Erasure.objects.order_by("user_id")
        assert {(row.user_id, tuple(row.memory_log_ids)) for row in receipts} == {
            (tenant.user_id, tuple(ids[:2])),
            (other.user_id, (ids[2],)),
        }
        assert {row.requested_by for row in receipts} == {"user olga"}

    @pytest.mark.parametrize("table", ["django_admin_log", "outbox_intervention"])
    def test_nothing_of_the_memorys_text_stays_in_the_record_of_decisions(
        self, olga: Client, table: str
    ) -> None:
        memory = store(new_tenant(), "A secret plan")
        olga.post(LIST, {"action": "embed_again", "_selected_action": [memory], "confirmed": "yes"})
        self.erase(olga, memory, confirmed="yes")
        drain()

        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE {table}::text LIKE '%secret plan%'")
            assert cursor.fetchone() == (0,)
        assert not MemoryLog.objects.filter(pk=memory).exists()

    def test_a_user_is_erased_after_the_numbers_are_confirmed(self, olga: Client) -> None:
        tenant = new_tenant()
        memory = store(tenant, "Fix it")
        update_memory(memory, {"task": "Fix it well"})
        form = {"user_id": tenant.user_id, "project_id": ""}

        counted = olga.post("/admin/memories/erasure/add/", form)
        assert "1 memory, 2 versions, 1 project" in counted.content.decode()
        store(tenant, "Fix that")
        again = olga.post(
            "/admin/memories/erasure/add/", form | {"counted": "1 memory, 2 versions, 1 project"}
        )
        assert "The number has changed" in again.content.decode()
        assert not Erasure.objects.exists()
        done = olga.post(
            "/admin/memories/erasure/add/", form | {"counted": "2 memories, 3 versions, 1 project"}
        )
        drain()

        receipt = Erasure.objects.get()
        assert done["Location"] == f"/admin/memories/erasure/{receipt.pk}/change/"
        assert (receipt.status, receipt.verified) == ("done", True)
        shown = page(olga, done["Location"])
        assert re.search(r"postgresql, memories: 2", shown)
        assert "nothing: every store was asked again" in shown


class TestPermissions:
    def test_whoever_may_only_view_changes_and_erases_nothing(self) -> None:
        memory = store(new_tenant(), "Fix it")
        victor = client_with("view_memorylog", "view_erasure")

        shown = memory_page(victor, memory)
        victor.post(LIST, {"action": "erase", "_selected_action": [memory], "confirmed": "yes"})
        refused = victor.post("/admin/memories/erasure/add/", {"user_id": "alice"})

        assert "Fix it" in shown
        assert "Erase …" not in shown
        assert "Index again …" not in shown
        assert refused.status_code == 403
        assert not Erasure.objects.exists()

    def test_whoever_may_change_memories_may_not_erase_them(self) -> None:
        memory = store(new_tenant(), "Fix it")
        victor = client_with("view_memorylog", "change_memorylog")

        assert "Index again …" in memory_page(victor, memory)
        victor.post(LIST, {"action": "erase", "_selected_action": [memory], "confirmed": "yes"})
        assert not Erasure.objects.exists()

    def test_whoever_has_no_permission_sees_no_memory(self) -> None:
        memory = store(new_tenant(), "Fix it")
        assert client_with("view_event").get(f"{LIST}{memory}/change/").status_code == 403


def test_a_deleted_memory_has_no_page(olga: Client) -> None:
    memory = store(new_tenant(), "Fix it")
    delete_memory(memory)

    assert olga.get(f"{LIST}{memory}/change/").status_code == 302
