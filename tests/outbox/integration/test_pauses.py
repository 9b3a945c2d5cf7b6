"""A person pauses an event type or a dependency, by a command or in the admin, and resumes it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError
from django.test import Client

from outbox import Unavailable
from outbox.models import UNTIL_RELEASED, Circuit, Event, EventType, Intervention, Relay
from outbox.operations import pauses, problems, statistics
from outbox.operations.explanation import explain
from outbox.queue import circuits, probes
from tests.support.events import run
from tests.support.published import NOTED, TOGETHER, claim_all, ids, publish

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/outbox/eventtype/"


def explained(event: Event) -> str:
    event.refresh_from_db()
    return explain(event)


def test_a_paused_type_is_not_claimed_and_others_are() -> None:
    _noted, together = publish(), publish(TOGETHER)

    pauses.pause_type(NOTED, by="olga", reason="the target is moved")

    assert ids(claim_all(NOTED, TOGETHER)) == [together.id]
    assert pauses.resume_type(NOTED, by="olga")
    assert [row.attempts for row in claim_all(NOTED).rows] == [1]


def test_later_events_of_the_aggregate_wait_too_so_that_the_order_holds() -> None:
    first, second = publish(NOTED, id="parcel"), publish(TOGETHER, id="parcel")

    pauses.pause_type(NOTED, by="olga", reason="")

    assert ids(claim_all(NOTED, TOGETHER)) == []
    assert f"It waits for event {first.pk}" in explained(second)


def test_a_pause_may_end_by_itself() -> None:
    noted = publish()
    pauses.pause_type(NOTED, by="olga", reason="", pause=timedelta(hours=1))
    assert ids(claim_all(NOTED)) == []

    Circuit.objects.update(held_until="2000-01-01T00:00Z")

    assert ids(claim_all(NOTED)) == [noted.id]
    assert statistics.paused_types() == []


def test_a_dependency_is_held_without_an_end() -> None:
    baked = publish("test.baked")
    pauses.hold("oven", by="olga", reason="it is moved")

    assert ids(claim_all("test.baked")) == []
    assert Circuit.objects.get(dependency="oven").held_until == UNTIL_RELEASED
    assert "when somebody releases it" in explained(baked)


def test_the_circuit_of_a_paused_type_is_not_closed_untested() -> None:
    """The probe finds no event to claim, but one waits behind the pause."""
    publish("test.baked")
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    pauses.pause_type("test.baked", by="olga", reason="")
    pauses.pause_type("test.toasted", by="olga", reason="")
    probes.release_probe("oven")

    [probe] = probes.acquire_probes()
    assert (probe.groups, probe.blocked) == ([], ["test.baked", "test.toasted"])
    probes.end_unused_probe(probe)

    assert circuits.is_open("oven")


def test_an_event_says_that_its_type_is_paused_by_whom_and_why() -> None:
    event = publish()
    pauses.pause_type(NOTED, by="olga", reason="the target is moved")

    sentence = explained(event)

    assert sentence.startswith("It waits because its type, test.noted, is paused since 2")
    assert "(by olga: the target is moved)" in sentence
    assert sentence.endswith("It goes on when somebody resumes it and loses no attempt.")


def test_a_pause_is_a_problem_with_the_number_of_events_that_wait() -> None:
    Relay.objects.create(id="00000000-0000-0000-0000-000000000001", host="here", pid=1, wakeup="listen")
    publish()
    pauses.pause_type(NOTED, by="olga", reason="the target is moved")

    [problem] = problems.find()

    assert (problem.kind, problem.subject) == ("paused", NOTED)
    assert str(problem).startswith(
        "The event type test.noted is paused (by olga: the target is moved) since 2"
    )
    assert "1 event waits and loses no attempt. Its events go on when you resume it." in str(problem)


class TestCommands:
    def test_pause_and_resume(self) -> None:
        noted = publish()

        told = run("outbox_pause", "--type", NOTED, "--reason", "moving")
        assert told == "test.noted is paused until outbox_resume. Its events wait and lose no attempt.\n"
        assert ids(claim_all()) == []

        assert run("outbox_resume", "--type", NOTED) == "test.noted is resumed. Its events go on.\n"
        assert ids(claim_all()) == [noted.id]
        assert run("outbox_resume", "--type", NOTED) == "test.noted was not paused.\n"

    def test_a_dependency_for_some_minutes(self) -> None:
        assert "oven is paused for 30 minutes" in run(
            "outbox_pause", "--dependency", "oven", "--minutes", "30"
        )
        assert circuits.is_open("oven")
        assert "oven is resumed" in run("outbox_resume", "--dependency", "oven")
        assert not circuits.is_open("oven")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "Give --type or --dependency"),
            (["--type", "test.nothing"], "There is no event type 'test.nothing'. Known: "),
            (["--dependency", "moon"], "There is no dependency 'moon'. Known: "),
            (["--type", NOTED, "--minutes", "0"], "Give more than 0"),
        ],
    )
    def test_wrong_use_is_refused(self, arguments: list[str], says: str) -> None:
        with pytest.raises(CommandError, match=says) as refused:
            run("outbox_pause", *arguments)
        assert refused.value.returncode == 2

    def test_status_lists_what_is_paused(self) -> None:
        pauses.pause_type(NOTED, by="olga", reason="moving")

        [paused] = statistics.collect().as_json()["paused_types"]

        assert (paused["type"], paused["until"], paused["reason"]) == (NOTED, None, "by olga: moving")
        assert statistics.collect().circuits == []
        assert "paused              test.noted: by olga: moving" in run("outbox_status")

    def test_each_decision_is_on_record(self) -> None:
        pauses.pause_type(NOTED, by="olga", reason="moving", pause=timedelta(hours=1))
        pauses.resume_type(NOTED, by="bob")
        pauses.hold("oven", by="olga", reason="moving")
        pauses.release("oven", by="bob")
        assert not pauses.release("oven", by="bob")

        kept = Intervention.objects.values_list("action", "subject", "by", "reason")
        assert list(kept) == [
            ("paused", "event type test.noted", "olga", "moving (for 1:00:00)"),
            ("resumed", "event type test.noted", "bob", ""),
            ("held", "dependency oven", "olga", "moving (until somebody ends it)"),
            ("released", "dependency oven", "bob", ""),
        ]


class TestAdmin:
    @pytest.fixture
    def olga(self) -> Client:
        client = Client()
        client.force_login(User.objects.create_superuser("olga"))
        return client

    def act(self, client: Client, action: str, type: str, **more: str) -> Any:
        chosen = {"action": action, "_selected_action": f"type:{type}", **more}
        return client.post(LIST, chosen, follow=True).content.decode()

    def test_every_type_is_listed_with_its_numbers(self, olga: Client) -> None:
        publish()

        page = olga.get(LIST).content.decode()

        assert "test.baked" in page
        assert f'/admin/outbox/event/?type={NOTED}&amp;status__exact=pending">1<' in page
        assert not EventType.objects.filter(held_until__isnull=False).exists()
        assert "type:" not in olga.get("/admin/outbox/circuit/").content.decode()

    def test_pause_asks_why_and_for_how_long(self, olga: Client) -> None:
        olga.get(LIST)
        asked = self.act(olga, "pause", NOTED)
        assert "For how long?" in asked
        assert "until somebody ends it" in asked

        told = self.act(olga, "pause", NOTED, confirmed="yes", reason="moving", choice="14400")

        assert "1 event type paused for 4 hours: moving." in told
        assert "by olga: moving, until 2" in olga.get(LIST).content.decode()
        assert "1 event type resumed." in self.act(olga, "resume", NOTED, confirmed="yes")
        assert statistics.paused_types() == []

    def test_its_own_page_offers_to_resume_first(self, olga: Client) -> None:
        pauses.pause_type(NOTED, by="bob", reason="moving")

        page = olga.get(f"{LIST}type_3A{NOTED}/change/").content.decode()

        assert page.index('value="resume"') < page.index('value="pause"')

    def test_a_viewer_pauses_nothing(self) -> None:
        viewer = User.objects.create_user("victor", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_eventtype"))
        client = Client()
        client.force_login(viewer)
        assert NOTED in client.get(LIST).content.decode()

        self.act(client, "pause", NOTED, confirmed="yes", reason="for fun")

        assert statistics.paused_types() == []

    def test_the_record_of_decisions_is_a_page(self, olga: Client) -> None:
        pauses.pause_type(NOTED, by="bob", reason="moving")

        page = olga.get("/admin/outbox/intervention/").content.decode()

        assert "event type test.noted" in page
        assert "bob" in page
