"""Which of the outbox's own writes need not wait for the disk."""

# A condition that is always true; the transaction it is asked in commits without waiting for the disk.
#
# For a claim and for a success. What a crash of Postgres can take with it is its last fraction of a second, in the
# order it was written: a success that is kept, and what its handler wrote before it is kept too. A lost success,
# or a claim that nobody remembers, is an event delivered once more, which every handler bears; its old token settles
# nothing. A failed attempt is history, and waits.
ASYNC_COMMIT = "(SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"
