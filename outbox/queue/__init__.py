"""The event table as a queue: claims, order within an aggregate, circuits, and the stream of recorded events."""
