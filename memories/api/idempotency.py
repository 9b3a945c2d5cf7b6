"""The header Idempotency-Key: a client may repeat a request, and it is done once."""

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

# The headers that belong to a stored answer.
HEADERS = ("Location", "ETag")


def key_of(request: Request) -> str | None:
    """The request's Idempotency-Key, or None. Raises ValidationError for a malformed one."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not re.fullmatch(KEY, key) or len(key) > ID_LENGTH:
        allowed = f"An Idempotency-Key has 1 to {ID_LENGTH} characters of ASCII, without spaces at its ends."
        raise ValidationError({"Idempotency-Key": [allowed]})
    return key


def answer_once(request: Request, key: str | None, tenant: Tenant, write: Callable[[], Response]) -> Response:
    """Answer with `write`, or with the stored answer of the tenant's earlier request under this key.

    Without a key `write` always runs. Raises idempotency.InFlight, idempotency.KeyReused.
    """
    if key is None:
        return write()
    idempotent = IdempotentRequest(tenant, key, _fingerprint(request))
    answer, replayed = idempotency.run_once(idempotent, lambda: _answer(write()))
    headers = {**answer.headers, **({"Idempotency-Replayed": "true"} if replayed else {})}
    return Response(json.loads(answer.body), status=answer.status, headers=headers)


def _fingerprint(request: Request) -> str:
    """A hash of the request that does not depend on the order of keys or on white space."""
    content = json.dumps([request.method, request.get_full_path(), request.data], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _answer(response: Response) -> Answer:
    body = JSONRenderer().render(response.data).decode()
    headers = {name: response[name] for name in HEADERS if response.has_header(name)}
    return Answer(response.status_code, body, headers, response.data.get("id"))
