from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from tests.support.google_api import GoogleAPI, google_api


@pytest.fixture
def google(settings: Settings) -> Iterator[GoogleAPI]:
    """Google, on this machine; the settings name it."""
    with google_api() as api:
        settings.GOOGLE_API_KEY = "a-key"
        settings.GOOGLE_API_ENDPOINT = api.url
        settings.EMBEDDING_TIMEOUT_SECONDS = 60
        settings.EMBEDDING_CACHE_ENABLED = False
        yield api
