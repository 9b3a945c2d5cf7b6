"""Django's `migrate` over a direct connection (DATABASE_DIRECT_URL)."""

from typing import Any

from django.core.management.commands import migrate

from semantix.database.direct import connect_directly


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connect_directly()
        super().handle(*args, **options)
