"""The code blocks of README.md and docs/: found, run, and compared with what the pages say they answer."""
