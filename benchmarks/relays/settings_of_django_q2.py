"""A project with django-q2 and its own broker, with the fastest settings."""

import environ

env = environ.Env()

SECRET_KEY = env.str("SECRET_KEY")
DATABASES = {"default": env.db_url("DATABASE_URL")}
DATABASES["default"]["CONN_MAX_AGE"] = 600
INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

Q_CLUSTER = {
    "name": "django-q2",
    "orm": "default",
    "workers": 2,
    "timeout": 50,
    # Its default. The tasks of a dead worker come again after this many seconds.
    "retry": 60,
    "recycle": 100_000,
    # A hundred at a time, and no row for a task that succeeded.
    "bulk": 100,
    "save_limit": -1,
    # It polls every 10 ms, twenty times as often as by default: nothing notifies it of new tasks.
    "poll": 0.01,
    "scheduler": False,
    "log_level": "WARNING",
}
