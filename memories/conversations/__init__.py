"""Chat turns, written behind: they wait in a buffer until their conversation is saved, as memories, in bulk.

`writing` takes a turn into the buffer in use (`switch` says which), `reading` shows saved and waiting turns as one,
`flushing` saves what has been idle. Which to choose, and what each can lose: docs/explanation/conversations.md.
"""
