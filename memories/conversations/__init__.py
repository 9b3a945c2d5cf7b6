"""Write-behind chat turns: a turn waits in a buffer until its conversation is saved as memories, in bulk.

`append` puts turns into the buffer in use (`buffers.failover` decides which), `transcript` shows saved and waiting
turns together, `flush` saves idle conversations. docs/explanation/conversations.md compares the buffers, and says what
each can lose.
"""
