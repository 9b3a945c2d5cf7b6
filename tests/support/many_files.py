"""A process with many open files."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

# select() takes descriptors below this number.
SELECT_LIMIT = 1024


@contextmanager
def many_open_files() -> Iterator[None]:
    """Inside the block, every file that is opened gets a descriptor beyond SELECT_LIMIT."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4 * SELECT_LIMIT, hard)), hard))
    files = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while files[-1] <= SELECT_LIMIT:
            files.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
