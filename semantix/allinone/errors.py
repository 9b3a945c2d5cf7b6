"""How a start ends when it does not succeed."""


class StartError(Exception):
    """A service could not be started. The message is one line for a person: what, why, what to do."""


class StartInterrupted(KeyboardInterrupt):
    """Somebody asked to stop while a service was starting. As a KeyboardInterrupt it makes psycopg cancel the
    running statement, and no `except Exception` swallows it."""
