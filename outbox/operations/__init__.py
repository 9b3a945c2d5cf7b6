"""For operators: statistics, history, dead letters, replay, pruning, schedules."""
