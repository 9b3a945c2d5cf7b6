"""Making the index equal to what PostgreSQL holds: by event, by filling, by comparison."""
