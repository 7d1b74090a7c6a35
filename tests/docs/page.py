# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the code blocks of a Markdown page. In: a page. Out: what differs from what it shows, or the page made true.

What the words after a block's language mean (they do not show in the rendered page):

* `mlir`: must be valid. `mlir after="--cse"`: what `flambeau-opt --cse` makes of the block before it.
* `python run`: is run as a program; `python run fails` must end with an error. `name=file.py` says how it is called.
* `sh run`, `sh run fails`: is run by the shell, in a copy of the checkout.
* `append=FILE`, `file=FILE`, `after=FILE:TEXT`: the block goes into that file of the copy: at its end, as the whole
  file, or after the first line that holds TEXT.
* `text` after a block that was run: its output, paths relative to where it ran. `...` stands for anything, as in
  doctest.

Other blocks are for reading only.
"""

import doctest
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from flambeau.tools import opt

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_TIMEOUT = 600  # seconds per block


@dataclass(frozen=True)
class Block:
    """One fenced block; `start` and `end` are the offsets of its text in the page."""

    language: str
    options: dict[str, str]
    text: str
    line: int
    start: int
    end: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page that name a language."""
    found = []
    for match in _BLOCK.finditer(page):
        pairs = (word.partition("=") for word in shlex.split(match[2]))
        options = {name: value for name, _, value in pairs}
        line = page.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], options, match[3], line, match.start(3), match.end(3)))
    return found


def needs_checkout(page: str) -> bool:
    """Whether the page's blocks change or run the sources."""
    return any(b.language == "sh" and "run" in b.options for b in blocks(page))


def run(path: Path, folder: Path) -> list[tuple[Block, str]]:
    """Run a page's blocks in `folder`, in order; the blocks that do not show what came out, with what did.

    AssertionError, with the page's line, for a block that fails (or that should and does not).
    """
    differences: list[tuple[Block, str]] = []
    output: str | None = None  # of the block before, if it was run
    source: str | None = None  # the last MLIR that was not itself an output
    for block in blocks(path.read_text()):
        where = f"{path.name}:{block.line}"
        options = block.options
        if block.language == "mlir" and "after" in options and "file" not in options:
            assert source is not None, f"{where}: no MLIR before it"
            result = _opt(source, shlex.split(options["after"]), folder, where)
            if not _same(block.text, result):
                differences.append((block, result))
        elif block.language == "text" and output is not None:
            if not _same(block.text, output):
                differences.append((block, output))
        elif any(key in options for key in ("append", "file", "after")):
            _edit(block, folder, where)
        elif block.language == "mlir":
            source = block.text
            _opt(source, ["--split-input-file"], folder, where)
        output = _run_program(block, folder, where) if "run" in options else None
    return differences


def accept(path: Path, differences: list[tuple[Block, str]]) -> None:
    """Rewrite the page so that it shows what came out."""
    page = path.read_text()
    for block, output in reversed(differences):
        page = page[: block.start] + output + page[block.end :]
    path.write_text(page)


def _same(shown: str, found: str) -> bool:
    return doctest.OutputChecker().check_output(shown, found, _FLAGS)


def _opt(text: str, flags: list[str], folder: Path, where: str) -> str:
    """What flambeau-opt makes of a module, without the `module { }` around it."""
    source, result = folder / "block.mlir", folder / "result.mlir"
    source.write_text(text)
    assert opt.main([str(source), *flags, "-o", str(result)]) == 0, f"{where}: flambeau-opt fails"
    lines = result.read_text().splitlines()
    inner = [line.removeprefix("  ") for line in lines if line not in ("module {", "}")]
    return "\n".join(inner) + "\n"


def _edit(block: Block, folder: Path, where: str) -> None:
    options = block.options
    name = options.get("append") or options.get("file") or options["after"].partition(":")[0]
    path = folder / name
    if "file" in options:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        return
    assert path.exists(), f"{where}: there is no {name}"
    old = path.read_text()
    if "append" in options:
        path.write_text(old + block.text)
        return
    lines, anchor = old.splitlines(keepends=True), options["after"].partition(":")[2]
    index = next((i for i, line in enumerate(lines) if anchor in line), None)
    assert index is not None, f"{where}: no line with {anchor!r} in {name}"
    path.write_text("".join([*lines[: index + 1], block.text, *lines[index + 1 :]]))


def _run_program(block: Block, folder: Path, where: str) -> str:
    """Standard output and standard error together."""
    if block.language == "python":
        name = block.options.get("name", "example.py")
        (folder / name).write_text(block.text)
        command = [sys.executable, name]
    else:
        command = ["bash", "-euc", block.text]
    tools = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder) if (folder / "flambeau").exists() else os.environ.get("PYTHONPATH", ""),
        "NO_COLOR": "1",
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=pipe,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and what it started
            raise
    failed = process.returncode != 0
    assert failed == ("fails" in block.options), f"{where}: exit code {process.returncode}\n{printed}"
    return printed.replace(f"{folder}{os.sep}", "")
