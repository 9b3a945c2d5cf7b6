"""The pages that are read in a Django project of their own: a shop that installs the outbox."""

from tests.support.paths import ROOT

HOW_TO = ROOT / "docs/how-to"
SHOP_PAGES = [
    HOW_TO / name for name in ("install-the-outbox.md", "write-a-handler.md", "use-django-tasks.md")
]
