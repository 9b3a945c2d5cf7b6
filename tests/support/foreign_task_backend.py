"""A task backend of another package, which does not use `django_tasks`."""


class Backend:
    pass
