"""Experiments with faults on the real service: `make faults`, or `python -m tests.faults NAME`.

Each module of `experiments` is one experiment with one idea. It disturbs real processes, servers and clients, and
reports what it counted, measured and found wrong. The test suite runs a short form of each.
"""
