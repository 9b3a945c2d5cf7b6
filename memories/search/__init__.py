"""Search by meaning, by words, or by both. PostgreSQL decides on each hit."""
