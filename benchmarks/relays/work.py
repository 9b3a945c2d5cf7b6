"""A worker process of a peer: `python -m benchmarks.relays.work PEER [OPTION ...]`."""

import sys
from importlib import import_module

import uvloop

if __name__ == "__main__":
    uvloop.run(import_module(f"benchmarks.relays.{sys.argv[1]}").work(*sys.argv[2:]))
