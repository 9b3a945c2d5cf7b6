"""Exceptions that end a start."""


class StartError(Exception):
    """A service could not start. The message is one line for a person: what failed, why, what to do."""


class StartInterrupted(KeyboardInterrupt):
    """A signal asked to stop while a service was starting.

    A subclass of KeyboardInterrupt, so that psycopg cancels the running statement and no `except Exception` catches it.
    """
