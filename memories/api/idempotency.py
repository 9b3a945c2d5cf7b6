"""The header Idempotency-Key: a request that may be sent again without being done again."""

import hashlib
import json
import re
from collections.abc import Callable

from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.limits import ID_LENGTH
from memories.api.openapi import KEY
from memories.records import idempotency
from memories.records.idempotency import Answer, IdempotentRequest
from memories.tenants import Tenant

HEADERS = ("Location", "ETag")


def key_of(request: Request) -> str | None:
    """The request's key, if it has one. Raises ValidationError."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not re.fullmatch(KEY, key) or len(key) > ID_LENGTH:
        allowed = f"It has from 1 to {ID_LENGTH} characters of ASCII, and no space at either end."
        raise ValidationError({"Idempotency-Key": [allowed]})
    return key


def answered_once(request: Request, tenant: Tenant, write: Callable[[], Response]) -> Response:
    """What `write` answers, or answered when the tenant sent this request under this key before.

    Raises ValidationError, idempotency.InFlight, idempotency.KeyReused.
    """
    key = key_of(request)
    if key is None:
        return write()
    keyed = IdempotentRequest(tenant, key, _fingerprint(request))
    answer, again = idempotency.run_once(keyed, lambda: _kept(write()))
    headers = {**answer.headers, **({"Idempotency-Replayed": "true"} if again else {})}
    return Response(json.loads(answer.body), status=answer.status, headers=headers)


def _fingerprint(request: Request) -> str:
    """Of what is asked, whatever the order of its keys and the white space."""
    asked = json.dumps([request.method, request.path, request.data], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _kept(response: Response) -> Answer:
    body = JSONRenderer().render(response.data).decode()
    return Answer(
        response.status_code, body, {name: response[name] for name in HEADERS if response.has_header(name)}
    )
