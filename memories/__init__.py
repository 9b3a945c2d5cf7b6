"""The domain: memories of agents, stored in PostgreSQL, indexed in Chroma and searched over REST."""
