"""The project's settings, and an app whose handlers the outbox' tests publish to. Clusters they start use it too."""

from semantix.settings import *  # noqa: F403
from semantix.settings import INSTALLED_APPS

# Ordinary tasks that tests queue.
OUTBOX_ALLOWED_TASKS = ("operator.add", "operator.neg")
INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.outbox_app"]
# A good one takes a third of a second for each password.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Each of the many clients of the tests would look through all static files for itself.
WHITENOISE_AUTOREFRESH = True
# A busy machine may need long for a large write, and for a search. A test of a limit sets its own.
CHROMA_TIMEOUT_SECONDS = 60.0
CHROMA_SEARCH_TIMEOUT_SECONDS = 20.0
