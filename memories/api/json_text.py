"""The text of a JSON value in a form of HTML."""


class TextOfJSON(str):
    """What a person wrote, or has yet to write. DRF shows it as it is, not as a JSON string."""

    is_json_string = True
