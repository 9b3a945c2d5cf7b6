"""Limits of what a client may send. docs/reference/api.md lists them; an error names the field that is above one."""

# --- Named fields, in characters ---

ID_LENGTH = 200
TEXT_LENGTH = 10_000
# The content of one conversation turn, and the number of turns in one request.
TURN_LENGTH = 100_000
TURNS = 500

# The questions of one batch of searches.
SEARCHES = 32

# The longest `Prefer: wait`, in seconds.
WAIT_SECONDS = 30

# --- All JSON ---

# Values of one body, at every level. Walking through so many takes about half a second.
VALUES = 1_000_000
# Levels of objects and lists. The body is the first level.
DEPTH = 64
# Characters of one string.
STRING_LENGTH = 100_000
# Characters of one key.
KEY_LENGTH = 500
# Keys of one object.
KEYS = 1_000
# Items of one list.
ITEMS = 10_000
# Digits of an integer. Reading one takes quadratic time, and no double has more digits.
DIGITS = 400

# Ids named by one erasure.
ERASED_AT_ONCE = 1_000
