"""An estimate of how much of a text a model reads, without the model's tokenizer."""

import re

_PIECE = re.compile(r"[A-Za-z]+|\S")


def first_tokens(text: str, limit: int) -> str:
    """Return the text up to the word that would exceed `limit` tokens.

    The estimate is high for any subword vocabulary: one token for every four Latin letters, and one for each digit,
    punctuation mark and letter of another script.

    >>> first_tokens("Connection refused: retry 42", 6)
    'Connection refused:'
    """
    if len(text) <= limit:
        return text
    spent = 0
    for piece in _PIECE.finditer(text):
        spent += (len(piece[0]) + 3) // 4
        if spent > limit:
            return text[: piece.start()].rstrip()
    return text
