"""The all-in-one installation: start, watch and stop the servers as child processes, with their data in DATA_DIR."""
