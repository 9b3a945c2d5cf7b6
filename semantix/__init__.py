"""The Django project: settings, URLs, web server, the admin's pages, and `manage.py up`."""

from semantix import garbage

garbage.process_starts()
