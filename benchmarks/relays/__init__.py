"""The relay and its peers, each behind the same few calls, for `python -m benchmarks relay`."""
