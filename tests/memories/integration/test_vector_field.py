"""The numbers of vectors as a parameter of a statement."""

import numpy as np
import psycopg
import pytest
from django.db import connection

from memories.models.vector_field import Reals

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("cursor", [psycopg.Cursor, psycopg.ClientCursor], ids=["binary", "text"])
def test_every_number_arrives_as_it_is_in_either_format(cursor: type[psycopg.Cursor]) -> None:
    numbers = np.random.default_rng(1).standard_normal((3, 768)).astype(np.float32)
    numbers[0, :4] = 0.0, -0.0, np.finfo(np.float32).tiny, np.finfo(np.float32).max
    connection.ensure_connection()

    with cursor(connection.connection) as raw:
        raw.execute(
            "SELECT vector_send((%(numbers)s::real[])[769:1536]::vector), cardinality(%(numbers)s::real[])",
            {"numbers": Reals(numbers)},
        )
        [(second, count)] = raw.fetchall()

    assert count == numbers.size
    assert second[4:] == numbers[1].astype(">f4").tobytes()
