"""Live updates: clients learn when a memory enters the index or leaves it. No HTTP in here."""
