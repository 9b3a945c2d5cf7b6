"""The experiments. Each module has `run(trial)`, and a docstring whose first line says what the experiment shows."""
