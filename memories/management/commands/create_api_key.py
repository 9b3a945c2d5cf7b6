"""`create_api_key`: let a program in to one tenant's memories."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from memories.models import APIKey
from outbox.operations.problems import at


class Command(BaseCommand):
    help = "Make an API key for a user's memories, or for one project of that user. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user-id", required=True, help="whose memories the key opens")
        parser.add_argument(
            "--project-id", default="", help="only this project (otherwise all of the user's)"
        )
        parser.add_argument("--name", default="", help="for you, to know it again (at most 50 characters)")
        parser.add_argument(
            "--expires",
            type=_in_future,
            metavar="WHEN",
            help="a day or moment: 2030-12-31, 2030-12-31T18:00+01:00",
        )
        parser.add_argument(
            "--may-erase",
            action="store_true",
            help="the key may erase memories with their history, for ever; other keys may only delete",
        )
        parser.add_argument("--json", action="store_true", help="print the key and what it opens as JSON")

    def handle(self, *args: Any, **given: Any) -> None:
        row = APIKey(
            name=given["name"] or f"{given['user_id']} {given['project_id']}".strip()[:50],
            user_id=given["user_id"],
            project_id=given["project_id"],
            expiry_date=given["expires"],
            may_erase=given["may_erase"],
        )
        key = APIKey.objects.assign_key(row)
        try:
            row.full_clean()
        except ValidationError as error:
            raise CommandError(f"No key was made. {_one_line(error)}", returncode=2) from error
        row.save()
        if given["json"]:
            self.stdout.write(json.dumps(_told(row, key)))
        else:
            self.stdout.write(key)  # and nothing else, for KEY=$(manage.py create_api_key ...)
            self.stderr.write(_said(row))


def _in_future(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no day or moment; write 2030-12-31 or 2030-12-31T18:00+01:00"
        ) from None
    moment = moment if moment.tzinfo else timezone.make_aware(moment)
    if moment <= timezone.now():
        raise ArgumentTypeError(f"{text} is past: the key would never work")
    return moment


def _told(row: APIKey, key: str) -> dict[str, str | bool | None]:
    return {
        "key": key,
        "prefix": row.prefix,
        "name": row.name,
        "user_id": row.user_id,
        "project_id": row.project_id or None,
        "expires": row.expiry_date.isoformat().replace("+00:00", "Z") if row.expiry_date else None,
        "may_erase": row.may_erase,
    }


def _said(row: APIKey) -> str:
    project = f"project_id {row.project_id}" if row.project_id else "every project_id"
    until = (
        f"until {at(row.expiry_date)}"
        if row.expiry_date
        else f"until it is revoked (manage.py revoke_api_key {row.prefix})"
    )
    erase = " It may erase." if row.may_erase else ""
    return (
        f"Shown this once; only its hash is kept. It opens user_id {row.user_id}, {project}, {until}.{erase}\n"
        "Send it with every request, in the header  Authorization: Bearer <key>"
    )


def _one_line(error: ValidationError) -> str:
    return " ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
