"""Writes src/semantix_client/client.py from async_client.py: the same code without await.

python tools/make_sync.py            writes the file
python tools/make_sync.py --check    exit code 1 where the file is not what it would write
"""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "semantix_client"
SOURCE, TARGET = PACKAGE / "async_client.py", PACKAGE / "client.py"

# In order: longer names first.
WORDS = [
    (
        r'"""The asynchronous client\.',
        '"""The synchronous client, made by tools/make_sync.py from async_client.py.',
    ),
    (r"as an asynchronous context manager", "as a context manager"),
    (r"between tasks", "between threads"),
    (r"import asyncio\n", ""),
    (r"asyncio\.sleep", "time.sleep"),
    (r"AsyncIterator", "Iterator"),
    (r"httpx\.AsyncClient", "httpx.Client"),
    (r"Async(Semantix|Conversation)", r"\1"),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"\baclose\b", "close"),
    (r"\baread\b", "read"),
    (r"\baiter_lines\b", "iter_lines"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
]


def synchronous(source: str) -> str:
    for pattern, replacement in WORDS:
        source = re.sub(pattern, replacement, source)
    return source


def main() -> int:
    wanted = synchronous(SOURCE.read_text())
    if "--check" in sys.argv:
        return int(TARGET.read_text() != wanted)
    TARGET.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
