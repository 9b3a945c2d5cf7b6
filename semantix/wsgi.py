"""The WSGI application: Django's views only, for a WSGI server."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "semantix.settings")

from semantix.web.startup import require_secret_key

require_secret_key()
application = get_wsgi_application()
