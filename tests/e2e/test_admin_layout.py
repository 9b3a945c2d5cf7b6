"""Every page of the admin fits a desk and a phone, in a light and a dark theme, and its inputs can be seen."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Browser, Page, expect

from memories.conversations import flush
from memories.models import APIKey
from memories.models.conversation import BufferFailover, ConversationGap
from outbox import Unavailable
from outbox.models import Status
from outbox.operations import pauses
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.admin_rows import dead_letter, remember
from tests.support.browser import DESK, PHONE, complaints, enter, overflow, sign_in, superuser, window
from tests.support.conversations import Chat
from tests.support.events import stored
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

# Wider than any window, and nothing in it to break a line at.
LONG = "x" * 400
# Lists on which a person may add a row.
ADDING = ("/admin/memories/apikey/", "/admin/auth/user/", "/admin/auth/group/")


def rows() -> list[str]:
    """A row of each kind, with long texts; returns the addresses of their own pages."""
    tenant = new_tenant()
    memory = remember(tenant, f"Fix the login redirect {LONG}", f"The session cookie was lost {LONG}")
    remember(tenant, "Fix the logout redirect", "The session cookie stayed behind the proxy")
    drain()
    event = dead_letter(tenant, memory)
    waiting = stored("memory_log.stored", last_error=f"Error {LONG}", attempts=1)
    delivered = stored("memory_log.stored", Status.DELIVERED, payload={"text": LONG})
    circuits.open_circuit(Unavailable("embedder", f"503 Service Unavailable {LONG}"))
    pauses.pause_type("memory_log.stored", by="olga", reason=LONG)
    key, _secret = APIKey.objects.create_key(name="agent one", user_id=f"alice-{LONG}")
    user, group = User.objects.create_user("victor", is_staff=True), Group.objects.create(name="readers")
    BufferFailover.objects.update_or_create(id=1, defaults={"reason": LONG})
    return [
        f"/admin/memories/memorylog/{memory}/change/",
        *(f"/admin/outbox/event/{each.pk}/change/" for each in (event, waiting, delivered)),
        "/admin/outbox/circuit/embedder/change/",
        "/admin/outbox/eventtype/type_3Amemory_log.stored/change/",
        f"/admin/memories/conversation/{conversation()}/change/",
        f"/admin/memories/apikey/{key.pk}/change/",
        f"/admin/auth/user/{user.pk}/change/",
        f"/admin/auth/group/{group.pk}/change/",
        "/admin/memories/bufferfailover/1/change/",
        "/admin/memories/erasure/add/",
    ]


def conversation() -> int:
    """One with a saved turn, a waiting turn and a gap."""
    chat = Chat(name=f"about-parcels-{LONG}")
    chat.say(f"Where is my parcel? {LONG}")
    flush.close(chat.row)
    chat.say(LONG)
    ConversationGap.objects.create(
        conversation=chat.row, after_turn=7, before_turn=9, at_least=1, reason=LONG
    )
    return chat.row.pk


LIGHT_DESK, DARK_DESK, LIGHT_PHONE, DARK_PHONE = (
    (DESK, "light"),
    (DESK, "dark"),
    (PHONE, "light"),
    (PHONE, "dark"),
)


@pytest.fixture(params=[LIGHT_DESK, DARK_DESK, LIGHT_PHONE, DARK_PHONE], ids=str)
def page(
    request: pytest.FixtureRequest, browser: Browser, server: str, transactional_db: None
) -> Iterator[Page]:
    size, scheme = request.param
    with window(browser, server, size=size, scheme=scheme) as context:
        yield context.new_page()


def registered() -> list[str]:
    """The lists of the menu, as the admin registers them."""
    from django.contrib import admin
    from django.urls import get_resolver

    assert get_resolver().url_patterns
    models = (model._meta for model in admin.site._registry)  # noqa: SLF001
    return [f"/admin/{model.app_label}/{model.model_name}/" for model in models]


@pytest.mark.parametrize("page", [LIGHT_DESK, DARK_PHONE], indirect=True, ids=str)
def test_no_page_is_wider_than_its_window_or_complains(page: Page) -> None:
    found = complaints(page)
    enter(page, superuser().username)
    pages = [
        "/admin/",
        "/admin/live",
        "/admin/search",
        *registered(),
        *rows(),
        *(f"{list}add/" for list in ADDING),
    ]

    wide = [(address, pixels) for address in pages if (pixels := _overflow_of(page, address))]

    assert wide == []
    assert found == []


def _overflow_of(page: Page, address: str) -> int:
    answer = page.goto(address)
    assert answer
    assert answer.ok, f"{address}: {answer.status}"
    return overflow(page)


@pytest.mark.parametrize("page", [LIGHT_DESK, DARK_PHONE], indirect=True, ids=str)
def test_every_list_on_which_one_may_add_has_a_visible_link_to_do_so(page: Page, server: str) -> None:
    sign_in(page, server)
    for address in ADDING:
        page.goto(address)
        link = page.locator("a.addlink")
        expect(link).to_be_visible()
        link.click()
        expect(page.get_by_role("button", name="Save", exact=True)).to_be_visible()


# An input can be seen by its border or its background, or by those of a box around it.
SEEN = """input => {
    const page = getComputedStyle(document.body).backgroundColor, none = "rgba(0, 0, 0, 0)";
    for (let box = input, steps = 0; steps < 4; box = box.parentElement, steps++) {
        const style = getComputedStyle(box);
        const border = style.borderBottomStyle !== "none" && parseFloat(style.borderBottomWidth) > 0
            && ![none, page].includes(style.borderBottomColor);
        if (border || ![none, page].includes(style.backgroundColor)) return true;
    }
    return false;
}"""


def test_every_input_can_be_seen(page: Page, server: str) -> None:
    sign_in(page, server)
    remember(new_tenant(), "Fix it", "It was broken")
    for address in (
        *(f"{list}add/" for list in ADDING),
        "/admin/outbox/event/",
        "/admin/memories/memorylog/",
    ):
        page.goto(address)
        inputs = page.locator("#content-main :is(input:not([type=hidden]), textarea, select):visible").all()

        assert inputs
        unseen = [input.get_attribute("name") for input in inputs if not input.evaluate(SEEN)]
        assert (address, unseen) == (address, [])
