"""The README runs: every Python block, and every command line of the console blocks."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
PROGRAM = "jepawm-bench"
FENCE = re.compile(r"^```(\w*)\s*$")
NOT_RUN = re.compile(r"^<!-- not run by the tests: \S.* -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    line: int
    """Of its first line of text, counted from one."""
    text: str
    runs: bool
    """False when the comment before it gives a reason not to run it."""


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks, in order."""
    found, before, opened, text = [], "", None, []
    for number, line in enumerate(page.splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, text = (fence.group(1), number + 1, not NOT_RUN.match(before)), []
        elif opened is not None and line.strip() == "```":
            language, first, runs = opened
            found.append(Block(language, first, "\n".join(text), runs))
            opened = None
        elif opened is not None:
            text.append(line)
        before = line.strip() or before
    return found


def script_of(blocks: list[Block]) -> str:
    """The Python blocks as one script, every line where it stands in the page."""
    lines: list[str] = []
    for block in blocks:
        if block.language == "python" and block.runs:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"


def commands_of(blocks: list[Block]) -> list[tuple[int, list[str]]]:
    """Line number and words of every command of ours in the console blocks."""
    found = []
    for block in blocks:
        if block.language not in ("console", "bash") or not block.runs:
            continue
        command, first = "", block.line
        for number, line in enumerate(block.text.splitlines(), start=block.line):
            first = first if command else number
            command += line.removeprefix("$ ")
            if command.endswith("\\"):
                command = command[:-1]
                continue
            words = shlex.split(command, comments=True)
            if words and words[0] == PROGRAM:
                found.append((first, words))
            command = ""
    return found


def run(words: list[str], folder: Path, what: str) -> None:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{what} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return blocks_of(README.read_text())  # a missing README fails here


def test_the_readme_has_python_blocks_and_commands(blocks):
    assert script_of(blocks).strip()
    assert commands_of(blocks)


def test_the_python_blocks_run_as_one_script(blocks, tmp_path):
    script = tmp_path / "readme.py"
    script.write_text(script_of(blocks))
    run([str(script)], tmp_path, "The script of README.md's Python blocks")


@pytest.mark.slow
def test_the_commands_run_one_after_the_other(blocks, tmp_path):
    for line, words in commands_of(blocks):
        run(["-m", "jepawm_bench", *words[1:]], tmp_path, f"README.md:{line}: {shlex.join(words)}")


PAGE = """
Text.

```python
x = 1
```

<!-- not run by the tests: it takes a day -->

```console
$ jepawm-bench train
```

<!-- not run by the tests: -->
```bash
jepawm-bench run --agent random \\
  --episodes 2   # short
ls
```

```text
jepawm-bench nothing
```

```python
assert x == 1
```
"""


def test_the_reader_finds_blocks_reasons_and_commands():
    found = blocks_of(PAGE)
    assert [(block.language, block.runs) for block in found] == [
        ("python", True),
        ("console", False),
        ("bash", True),  # no reason was given
        ("text", True),
        ("python", True),
    ]
    assert commands_of(found) == [(16, ["jepawm-bench", "run", "--agent", "random", "--episodes", "2"])]
    script = script_of(found)
    exec(compile(script, "page", "exec"), {})
    for number, line in enumerate(script.splitlines(), start=1):
        assert not line or line == PAGE.splitlines()[number - 1]


def test_the_readme_shows_the_table_of_the_leaderboard():
    done = subprocess.run(
        [sys.executable, README.parent / "docs" / "readme_table.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
