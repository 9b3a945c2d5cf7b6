"""A number with its noun, for sentences: "1 event", "1,200 events"."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number and the noun in its form. `plural`: where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
