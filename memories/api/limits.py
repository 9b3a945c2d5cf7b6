"""How much a client may give. docs/reference/api.md lists these; above them the answer names the field."""

# --- Of the fields with a name of their own, in characters ---

ID_LENGTH = 200
TEXT_LENGTH = 10_000
# Of what is said in one turn of a conversation, and turns of one request.
TURN_LENGTH = 100_000
TURNS = 500

# Seconds that an answer is held for `Prefer: wait`.
WAIT_SECONDS = 30

# --- Of all JSON ---

# Levels of objects and lists, the body itself being the first.
DEPTH = 64
# Characters of one string; no search reads more of it.
STRING_LENGTH = 100_000
KEY_LENGTH = 500
# Of one object.
KEYS = 1_000
# Of one list.
ITEMS = 10_000
# Digits of an integer that are read at all: no double is longer.
DIGITS = 400

# Ids named by one erasure.
ERASED_AT_ONCE = 1_000
