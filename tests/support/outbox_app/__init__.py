"""Events whose handlers note what they did, and misbehave on demand, in this process or in a real cluster."""
