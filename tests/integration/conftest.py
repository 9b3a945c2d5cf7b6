from typing import Any

import pytest

from memories import keys
from tests.cast import Cast, new_cast


@pytest.fixture
def cast(settings: Any) -> Cast:
    settings.SEMANTIX_AUTH = "required"
    keys.forget()
    return new_cast()
