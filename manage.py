#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys
from importlib.util import find_spec


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "semantix.settings")
    if find_spec("django") is None:
        sys.exit(
            f"{sys.executable} has no Django: it is not the Python of this project. `make run` installs everything "
            "into .venv and starts the service; afterwards type .venv/bin/python manage.py."
        )
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import InterfaceError, OperationalError

    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
    except ImproperlyConfigured as error:
        sys.exit(f"Wrong setting: {error}")
    except (OperationalError, InterfaceError) as error:
        if "--traceback" in sys.argv:
            raise
        from django.conf import settings

        sys.exit(f"The database failed: {str(error).strip()}\n{settings.OUTBOX_DATABASE_HINT}")


if __name__ == "__main__":
    main()
