"""The relay: the django-q2 broker that claims events and hands them to workers."""
