"""The database engine that DATABASES names."""
