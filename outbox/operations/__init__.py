"""Operations: statistics, history, dead letters, replay, pruning, schedules."""
