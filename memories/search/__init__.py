"""Search: by meaning, by words, or both. PostgreSQL decides on each hit."""
