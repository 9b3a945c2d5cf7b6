"""PostgreSQL features that the outbox uses: triggers, NOTIFY channels, autovacuum settings, asynchronous commit."""
