"""Every page of the admin is drawn by unfold: a stock page inside its templates has no button to run an action."""

from django.contrib import admin
from django.contrib.admin.options import InlineModelAdmin
from django.contrib.auth.models import User
from django.urls import get_resolver
from unfold.admin import ModelAdmin, StackedInline, TabularInline
from unfold.mixins import BaseModelAdminMixin

from memories.models import APIKey
from semantix.admin import apply_theme, themed


def pages() -> list[admin.ModelAdmin]:
    assert get_resolver().url_patterns  # the URLs register the pages
    return list(admin.site._registry.values())  # noqa: SLF001


def test_every_registered_page_is_unfolds() -> None:
    stock = [page for page in pages() if not isinstance(page, ModelAdmin)]

    assert pages()
    assert stock == []


def test_every_inline_is_unfolds() -> None:
    inlines = [inline for page in pages() for inline in page.inlines]

    assert inlines
    assert [inline for inline in inlines if not issubclass(inline, BaseModelAdminMixin)] == []


class StackedPart(admin.StackedInline):
    model = User


class TabularPart(admin.TabularInline):
    model = User


class Page(admin.ModelAdmin):
    inlines = (StackedPart, TabularPart)


def bases(inlines: list[type[InlineModelAdmin]]) -> list[bool]:
    stacked, tabular = inlines
    return [issubclass(stacked, StackedInline), issubclass(tabular, TabularInline)]


def test_a_page_keeps_what_it_does_and_its_inlines_keep_their_layout() -> None:
    page = themed(Page)

    assert issubclass(page, Page)
    assert bases(page.inlines) == [True, True]


def test_applying_the_theme_again_changes_nothing() -> None:
    site = admin.AdminSite()
    site.register(APIKey, Page)
    apply_theme(site)
    first = type(site.get_model_admin(APIKey))
    apply_theme(site)

    assert issubclass(first, ModelAdmin)
    assert type(site.get_model_admin(APIKey)) is first
