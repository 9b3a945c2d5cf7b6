from django.contrib import admin
from django.urls import include, path
from django.views.decorators.http import require_safe

from semantix import docs, health
from semantix.console.live import live
from semantix.metrics.view import metrics

handler500 = "semantix.problem_pages.server_error"

urlpatterns = [
    path("", include("memories.api.urls")),
    path("", docs.home, name="home"),
    path("schema", docs.Schema.as_view(), name="schema"),
    path("docs", require_safe(docs.Page.as_view()), name="docs"),
    path("health/live", require_safe(health.live), name="live"),
    path("health/ready", require_safe(health.ready), name="ready"),
    path("metrics", require_safe(metrics), name="metrics"),
    path("admin/live", admin.site.admin_view(live), name="admin-live"),
    path("admin/", admin.site.urls),
]
