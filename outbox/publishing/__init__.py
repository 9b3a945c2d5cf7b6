"""Publishing: an event is inserted in the transaction of its change."""
