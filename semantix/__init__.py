"""The Django project: settings, URLs, web server, the admin's pages, and `manage.py up`."""

import atexit
import gc

# By default all that was imported is looked through for garbage after every 700 objects more: a tenth of each start.
gc.set_threshold(50_000)
# At the end of the process all of it would be, several times over: a third of a second for what the system takes
# back at once.
atexit.register(gc.freeze)
