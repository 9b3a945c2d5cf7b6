"""Django's classes of the admin with a type argument: `ModelAdmin[Event]`.

The type checker knows them as generic, but Django's own take no type argument at run time. The project that uses
this app must not have to patch Django for it.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core import paginator

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.core.paginator import Paginator
else:

    class Generic:
        def __class_getitem__(cls, _arguments: Any) -> type:
            return cls

    class ModelAdmin(Generic, admin.ModelAdmin):
        pass

    class TabularInline(Generic, admin.TabularInline):
        pass

    class Paginator(Generic, paginator.Paginator):
        pass


__all__ = ["ModelAdmin", "Paginator", "TabularInline"]
