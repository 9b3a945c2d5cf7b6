"""What contributors are told agrees with what the project does."""

import re

import yaml

from tests.support.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]


def tools(commands: list[str]) -> set[str]:
    """Each command without what only says that it may mend, or must leave out."""
    return {
        re.sub(r" (--fix|--force-exclude|--check|--dry-run|\.)(?= |$)", "", command) for command in commands
    }


def test_the_hooks_call_the_tools_of_make_lint() -> None:
    [recipe] = re.findall(r"^lint:.*\n((?:\t.+\n)+)", MAKEFILE, re.MULTILINE)
    linted = re.findall(r"\$\(BIN\)/(.+)", recipe)

    assert tools([hook["entry"].replace(".venv/bin/", "") for hook in HOOKS]) == tools(linted)


def test_every_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")]
    named = {target for page in pages for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text())}

    assert {"run", "test", "lint"} <= named <= targets
