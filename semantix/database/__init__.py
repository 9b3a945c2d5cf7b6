"""The engine of DATABASES."""
