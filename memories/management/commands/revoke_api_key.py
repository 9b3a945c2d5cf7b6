"""`revoke_api_key`: let a program in no more."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from memories.models import APIKey


class Command(BaseCommand):
    help = (
        "Revoke an API key, for good. Running processes refuse it after API_KEY_CACHE_SECONDS at the latest. "
        "A key that was revoked before stays so."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prefix", help="the key's first eight characters, as the admin lists them")
        parser.add_argument("--json", action="store_true", help="print what was revoked as JSON")

    def handle(self, *args: Any, **given: Any) -> None:
        # Who has the whole key at hand may give that.
        prefix = given["prefix"].partition(".")[0]
        row = APIKey.objects.filter(prefix=prefix).first()
        if row is None:
            raise CommandError(f"There is no API key {prefix!r}. The admin lists them.")
        row.revoked = True
        row.save(update_fields=["revoked"])
        told = {name: getattr(row, name) for name in ("prefix", "name", "user_id", "project_id", "revoked")}
        self.stdout.write(json.dumps(told) if given["json"] else f"Revoked: {row}, of user_id {row.user_id}.")
