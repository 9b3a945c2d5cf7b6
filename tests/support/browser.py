"""A real browser for tests: Debian's Chromium, driven by Playwright, against the web server as it runs.

A test clicks what a person can see and click, and nothing else: nothing is submitted by script or by force.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.support.processes import environment
from tests.support.programs import require
from tests.support.web_server import WebServer

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Milliseconds that a busy machine may need to show something.
PATIENCE = 60_000
PASSWORD = "a-password-for-tests"
# `make screenshots` sets it: the folder for pictures of the pages.
PICTURES = os.environ.get("SCREENSHOTS")
DESK, PHONE = (1400, 1000), (390, 844)

Scheme = Literal["light", "dark"]

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[str]:
    """The address of a web server that needs no key, one for the tests of a file."""
    with WebServer(**environment() | {"SEMANTIX_AUTH": "open"}) as running:
        yield running.url


@pytest.fixture(scope="module")
def browser(server: str) -> Iterator[Browser]:
    """One browser for the tests of a file. After the server: it ends first."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def desk(browser: Browser, server: str) -> Iterator[BrowserContext]:
    """A window at desk size, one for the tests of a file: it keeps the styles and scripts that it has loaded."""
    with window(browser, server) as context:
        yield context


@pytest.fixture
def page(desk: BrowserContext, server: str, transactional_db: None) -> Iterator[Page]:
    """A page at desk size, signed in to the admin as olga. It fails the test that leaves errors on its console."""
    page = desk.new_page()
    forget(page, server)
    found = complaints(page)
    sign_in(page, server)
    yield page
    complained = [*found]
    page.close()
    assert complained == []


def forget(page: Page, url: str) -> None:
    """Remove all that the server left in the window of this new page, except what may be cached."""
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})
    session.detach()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. The test uses the ORM from the same thread, next to Playwright's event loop."""
    program = require("chromium")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=PATIENCE)
            yield browser
            connections.close_all()  # the connections that were opened while Playwright's event loop ran
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@contextmanager
def window(
    browser: Browser, url: str, *, size: tuple[int, int] = DESK, scheme: Scheme = "light"
) -> Iterator[BrowserContext]:
    """A window of its own, without cookies. `size` is its width and height in pixels."""
    width, height = size
    context = browser.new_context(
        base_url=url, viewport={"width": width, "height": height}, color_scheme=scheme
    )
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


def sign_in(page: Page, url: str) -> None:
    """Sign in olga, a new superuser, and leave the page empty. `enter` goes through the login page."""
    person = Client()
    person.force_login(superuser())
    name = settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": person.cookies[name].value, "url": url}])


def superuser() -> User:
    return User.objects.create_superuser("olga", password=PASSWORD)


def enter(page: Page, username: str, password: str = PASSWORD) -> None:
    """Fill in the login page and press Enter."""
    page.goto("/admin/login/?next=/admin/")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    expect(page.locator("input[name=password]")).to_have_count(0)


def complaints(page: Page) -> list[str]:
    """A list that grows with each error or warning on the page's console, and each script that fails."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(f"{page.url}: {message.type}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(f"{page.url}: {error}"))
    return found


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return width


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page as SCREENSHOTS/name.png, if that folder is given."""
    if PICTURES:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(PICTURES) / f"{name}.png")
