from contextlib import suppress

with suppress(ModuleNotFoundError):  # only what runs the service is installed, without Playwright
    from tests.support.browser import browser, desk, page, server  # noqa: F401
