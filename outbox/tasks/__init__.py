"""Django's tasks, delivered as events of the outbox."""
