"""Live updates: clients are told when a memory reached the index, or left it."""
