"""The English rule that matching of words gains most from: inflected endings.

It hardly changes other languages. There, the character n-grams find related words.
"""

_ENDINGS = (("ies", "y"), ("ing", ""), ("edly", ""), ("ed", ""), ("ly", ""), ("es", ""), ("s", ""))


def stem(word: str) -> str:
    """Return the word without its inflected ending, roughly: related words must get the same stem.

    >>> [stem(word) for word in ("paint", "paints", "painted", "painting", "planned", "stories", "class")]
    ['paint', 'paint', 'paint', 'paint', 'plan', 'story', 'class']
    """
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
