"""Optional packages that only one backend needs."""

from importlib.util import find_spec

from django.core.exceptions import ImproperlyConfigured


def require(package: str, backend: str) -> None:
    """Check that the package is installed, without importing it.

    Raises ImproperlyConfigured, which names the command that installs it.
    """
    try:
        found = find_spec(package)
    except ModuleNotFoundError:  # a parent package is missing
        found = None
    if found is None:
        raise ImproperlyConfigured(
            f"EMBEDDING_BACKEND={backend} needs the package {package}, which is not installed: "
            f"pip install -r requirements.txt -r requirements-{backend}.txt"
        )
