"""Names of the task backend. Importing them needs no `django_tasks`."""

BACKEND = "outbox.tasks.backend.OutboxTaskBackend"
# The type of the events that carry tasks.
TASK_ENQUEUED = "task.enqueued"
