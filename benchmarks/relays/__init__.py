"""The relay and its peers behind one interface, for `python -m benchmarks relay`."""
