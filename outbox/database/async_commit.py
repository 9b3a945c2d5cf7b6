"""Asynchronous commit, for the outbox's writes that need not wait for the disk."""

# A condition that is always true. Its side effect: the transaction commits without waiting for the disk.
#
# Claims and successes use it. A crash of PostgreSQL can lose only the last fraction of a second, in the order in
# which it was written: if a success is kept, then everything that its handler wrote before is kept too. A lost
# success or a lost claim means that the event is delivered once more, which every handler must tolerate. The old
# token then settles nothing. A failed attempt is history, so its statement waits for the disk.
ASYNC_COMMIT = "(SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"
