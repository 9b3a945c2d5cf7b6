"""What the outbox adds to PostgreSQL's defaults: triggers, channels, autovacuum, asynchronous commit."""
