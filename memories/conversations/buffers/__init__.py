"""Where turns wait until their conversation is saved: PostgreSQL, or Redis with failover to it."""
