"""Runs the blocks of a page in their order and compares what they answer with what the page shows."""

import doctest
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.documented import answers
from tests.support.documented.blocks import Block
from tests.support.documented.shell import ENDLESS, REFUSED, Command, Shell, commands
from tests.support.waiting import wait_until

# A page lets its reader wait for what happens in the background. Here the wait ends when it has happened.
SLEEP = re.compile(r"sleep \d+$")


class Reader:
    """`translate` puts the test's addresses in place of those on the page. `is_idle`: nothing waits for delivery."""

    def __init__(self, shell: Shell, translate: Callable[[str], str], is_idle: Callable[[], object]) -> None:
        self._shell = shell
        self._translate = translate
        self._is_idle = is_idle
        self._printed = ""
        # Of the command that does not end by itself.
        self._log: Path | None = None
        # Of a request that was refused: the JSON below must say so.
        self._refused: tuple[Block, str] | None = None

    def read(self, blocks: tuple[Block, ...]) -> None:
        names: dict[str, Any] = {"__name__": "documentation"}
        try:
            self._read(blocks, names)
        finally:
            _close(names)

    def _read(self, blocks: tuple[Block, ...], names: dict[str, Any]) -> None:
        for block in blocks:
            if block.not_run:
                continue
            if block.is_shell:
                self._run(block)
            elif block.language == "json":
                self._compare(block)
            elif block.language == "text" and self._log:
                self._wait_for(block, block.text)
            elif block.language == "python":
                self.execute(block, names)
        self._expect_no_refusal()

    def _run(self, block: Block) -> None:
        for command in commands(block.text):
            self._expect_no_refusal()
            wait_until(self._is_idle)
            if ENDLESS.search(command.text):
                self._watch(block, command)
            elif not SLEEP.match(command.text):
                self._run_to_its_end(block, command)

    def _watch(self, block: Block, command: Command) -> None:
        """Start what does not end by itself, and wait until it has printed what the page shows."""
        self._log = self._shell.start(self._translate(command.text))
        self._wait_for(block, command.output)

    def _wait_for(self, block: Block, shown: str) -> None:
        """Until the command that does not end has printed this."""
        log = self._log
        assert log
        try:
            wait_until(lambda: answers.says(f"…{shown.strip()}…", log.read_text()), seconds=60)
        except AssertionError:
            fail(block, f"was not printed:\n{shown}\nThis was:\n{log.read_text()}")

    def _run_to_its_end(self, block: Block, command: Command) -> None:
        done = self._shell.run(self._translate(command.text))
        self._printed = done.output
        failure = f"{command.text}\nended with exit code {done.code}:\n{done.output}{done.errors}"
        if done.code == REFUSED:
            self._refused = (block, failure)
        elif done.code:
            fail(block, failure)
        if command.output and not answers.says(command.output, done.output):
            fail(block, f"{command.text}\nprinted:\n{done.output}\nand the page shows:\n{command.output}")

    def _expect_no_refusal(self) -> None:
        if self._refused:
            fail(*self._refused)

    def _compare(self, block: Block) -> None:
        try:
            answer = json.loads(self._printed)
        except ValueError:
            fail(block, f"The command above answered no JSON:\n{self._printed}")
        if difference := answers.difference(answers.shown(block.text), answer):
            fail(block, f"{difference}. The whole answer:\n{self._printed}")
        self._refused = None

    def execute(self, block: Block, names: dict[str, Any]) -> None:
        """In this process. The blocks of a page share their names."""
        text = self._translate(block.text)
        if ">>> " in text:
            _doctest(block, text, names)
            return
        code = compile("\n" * block.line + text, block.place, "exec", dont_inherit=True)
        try:
            exec(code, names)
        except Exception as error:
            fail(block, f"{type(error).__name__}: {error}")


def _close(names: dict[str, Any]) -> None:
    """Close what a reader's program closes at its end, such as a client."""
    for value in names.values():
        if not isinstance(value, type) and hasattr(value, "__exit__"):
            value.__exit__(None, None, None)


def _doctest(block: Block, text: str, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(text, names, block.place, str(block.page), block.line)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    if runner.run(test, out=said.append, clear_globs=False).failed:
        fail(block, "".join(said))
    names |= test.globs


def fail(block: Block, reason: str) -> NoReturn:
    pytest.fail(f"{block.place}: {reason}", pytrace=False)
