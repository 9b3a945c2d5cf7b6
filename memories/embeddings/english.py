"""The English rules that lexical matching gains most from: stop words and inflected endings.

Both hardly change other languages. There, the character n-grams find related words.
"""

_STOP_WORDS = """
    a about after again all also am an and any are aren as at be because been before being but by can could
    couldn d did didn do does doesn doing don done down each ever every few for from get gets getting got
    had hadn has hasn have haven having he her here hers him his how i if in into is isn it its itself just
    let like ll m many may me might more most much must my no nor not now of off on once one only or other
    our out over own rather re really s same shall she should shouldn so some such t than that the their
    them then there these they this those through to too under up us ve very was wasn we were weren what
    when where which while who whom whose why will with won would wouldn you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

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
