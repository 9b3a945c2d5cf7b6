"""What replaces or extends parts of django-q2, so that the death of one process holds up no other."""
