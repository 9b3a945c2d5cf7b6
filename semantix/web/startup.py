"""What must be true before anything serves."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def require_secret_key() -> None:
    """Raise ImproperlyConfigured where SECRET_KEY is unset: with the default, everybody could forge a session."""
    if settings.SECRET_KEY == settings.INSECURE_SECRET_KEY:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set, and without it anybody could forge the session of an administrator. Put a long "
            "random value into .env, for example the output of `openssl rand -hex 32`."
        )
