"""The admin's date formats: one format everywhere, which sorts as text."""
