"""The Django project: settings, URLs, the admin's pages, and `manage.py up` with the services it starts."""

import gc

# By default all that was imported is looked through for garbage after every 700 objects more: a tenth of each start.
gc.set_threshold(50_000)
