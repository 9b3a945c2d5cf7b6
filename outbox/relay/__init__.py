"""The relay: the django-q2 broker that claims events and passes them to workers."""
