from typing import Any

import pytest

from memories.auth import api_keys
from tests.support.two_tenants import Cast, new_cast


@pytest.fixture
def cast(settings: Any) -> Cast:
    settings.SEMANTIX_AUTH = "required"
    api_keys.forget()
    return new_cast()
