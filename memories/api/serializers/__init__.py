"""Request bodies and answers of the API."""
