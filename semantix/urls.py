from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from semantix.admin import apply_theme
from semantix.console.live import live
from semantix.console.playground import playground
from semantix.observability.metrics.view import metrics
from semantix.web import docs, health

# Before `admin.site.urls` is read. Commands and the cluster never load the admin's pages: that saves a sixth of their
# start. The theme comes last, when all apps have registered.
admin.autodiscover()
apply_theme(admin.site)

handler500 = "semantix.web.problem_pages.server_error"


def reading(view: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Allow GET and HEAD only. Without csrf_exempt a POST would be answered 403 (CSRF) instead of 405."""
    return csrf_exempt(require_safe(view))


urlpatterns = [
    path("", include("memories.api.urls")),
    path("", reading(docs.home), name="home"),
    path("favicon.ico", reading(docs.icon), name="icon"),
    path("schema", docs.Schema.as_view(), name="schema"),
    path("docs", reading(docs.Page.as_view()), name="docs"),
    path("health/live", reading(health.live), name="live"),
    path("health/ready", reading(health.ready), name="ready"),
    path("metrics", reading(metrics), name="metrics"),
    path("admin/live", admin.site.admin_view(live), name="admin-live"),
    path("admin/search", admin.site.admin_view(playground), name="admin-search"),
    path("admin/", admin.site.urls),
]
