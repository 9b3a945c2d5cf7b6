"""The tenant of an API key as the default of `user_id` and `project_id`, in bodies and in queries."""

from typing import Any

from rest_framework.request import Request

from memories.api.authentication import access_of


def tenant_of_key(request: Request) -> dict[str, str]:
    """`user_id` and `project_id`, as far as the request's key names them. Without a key there are none."""
    access = access_of(request)
    named = {"user_id": access.user_id, "project_id": access.project_id}
    return {name: value for name, value in named.items() if value is not None}


def with_tenant(request: Request, body: Any) -> Any:
    """The body with the tenant of the key where it names none. In a list this is done for each item.

    Anything but an object stays as it is, for the serializer to refuse.
    """
    defaults = tenant_of_key(request)
    if isinstance(body, list):
        return [defaults | item if type(item) is dict else item for item in body]
    return defaults | body if type(body) is dict else body
