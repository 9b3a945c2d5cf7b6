"""The buffers that hold turns until their conversation is saved: PostgreSQL, or Redis with failover to PostgreSQL."""
