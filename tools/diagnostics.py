# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What MLIR says while a tool runs: printed with the source line, or compared with `expected-error` comments."""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import file_location

_BUFFER = "-"  # what MLIR calls a text that it was given as a string


@dataclass(frozen=True)
class Diagnostic:
    """One message: `kind` is error, warning, note or remark; line and column count from 1, line 0 is unknown."""

    kind: str
    message: str
    file: str
    line: int
    column: int


@dataclass
class Source:
    """The text that is being processed, and the name under which messages show it."""

    name: str
    text: str

    def line(self, file: str, number: int) -> str | None:
        """A line of this text or of another file, None if there is none."""
        try:
            text = self.text if file == self.name else Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        lines = text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else None


def flatten(diagnostic: ir.Diagnostic, source: Source) -> list[Diagnostic]:
    """A diagnostic of MLIR's, followed by its notes."""
    place = file_location(diagnostic.location)
    file, line, column = place or ("<unknown>", 0, 0)
    kind = diagnostic.severity.name.lower()
    first = Diagnostic(kind, diagnostic.message, source.name if file == _BUFFER else file, line, column)
    return [first, *(part for note in diagnostic.notes for part in flatten(note, source))]


class PrintDiagnostics:
    """A handler that prints as MLIR's tools do: `file:line:col: error: message`, the source line, a caret."""

    def __init__(self, source: Source, stream: TextIO | None = None) -> None:
        self.source = source
        self.stream = stream or sys.stderr

    def __call__(self, diagnostic: ir.Diagnostic) -> bool:
        for part in flatten(diagnostic, self.source):
            self.print(part)
        return True

    def print(self, part: Diagnostic) -> None:
        """Print one message."""
        place = f"{part.file}:{part.line}:{part.column}" if part.line else f"{part.file}:0"
        print(f"{place}: {part.kind}: {part.message}", file=self.stream)
        line = self.source.line(part.file, part.line) if part.line else None
        if line is not None:
            indent = "".join("\t" if char == "\t" else " " for char in line[: max(part.column - 1, 0)])
            print(f"{line}\n{indent}^", file=self.stream)


@dataclass
class Expectation:
    """One `expected-<kind>` comment: what must be said at which line; line None is an unknown location."""

    kind: str
    text: str
    pattern: re.Pattern[str]
    line: int | None
    written_at: int
    met: bool = False


_COMMENT = re.compile(
    r"expected-(error|note|remark|warning)(-re)? *(@([+-][0-9]+|above|below|unknown))? *\{\{(.*)\}\}\s*$"
)


def expectations(text: str) -> list[Expectation]:
    """The `expected-*` comments of a text, with MLIR's rules: `@above` and `@below` skip lines that hold comments."""
    found: list[Expectation] = []
    waiting: list[Expectation] = []  # for `@below`
    last_plain = 1
    for number, line in enumerate(text.split("\n"), start=1):
        match = _COMMENT.search(line)
        if not match:
            for expectation in waiting:
                expectation.line = number
            waiting.clear()
            last_plain = number
            continue
        kind, is_pattern, _, where, message = match.groups()
        pattern = re.compile(_from_regex_parts(message) if is_pattern else re.escape(message))
        item = Expectation(kind, message, pattern, number, number)
        if where == "unknown":
            item.line = None
        elif where == "above":
            item.line = last_plain
        elif where == "below":
            waiting.append(item)
        elif where:
            item.line = number + int(where)
        found.append(item)
    return found


def _from_regex_parts(text: str) -> str:
    """In `expected-error-re`, what stands in `{{...}}` is a regular expression, the rest is plain text."""
    parts = re.split(r"\{\{(.*?)\}\}", text)
    return "".join(f"({part})" if i % 2 else re.escape(part) for i, part in enumerate(parts))


@dataclass
class VerifyDiagnostics:
    """A handler that holds messages against the `expected-*` comments of the source."""

    source: Source
    expected: list[Expectation] = field(default_factory=list)
    unexpected: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.expected = expectations(self.source.text)

    def __call__(self, diagnostic: ir.Diagnostic) -> bool:
        for part in flatten(diagnostic, self.source):
            # MLIR's tools do not attach this note when diagnostics are verified.
            if part.kind == "note" and part.message.startswith("see current operation: "):
                continue
            if not self._meet(part):
                self.unexpected.append(part)
        return True

    def _meet(self, part: Diagnostic) -> bool:
        if part.line and part.file != self.source.name:
            return False
        for item in self.expected:
            same_place = item.line == (part.line or None)
            if same_place and not item.met and item.kind == part.kind and item.pattern.search(part.message):
                item.met = True
                return True
        return False

    def report(self) -> bool:
        """Print what was not produced and what was not expected; True if there is nothing to print."""
        printer = PrintDiagnostics(self.source)
        for item in self.expected:
            if not item.met:
                message = f'expected {item.kind} "{item.text}" was not produced'
                column = self.source.text.split("\n")[item.written_at - 1].index("expected-") + 1
                printer.print(Diagnostic("error", message, self.source.name, item.written_at, column))
        for part in self.unexpected:
            message = f"unexpected {part.kind}: {part.message}"
            printer.print(Diagnostic("error", message, part.file, part.line, part.column))
        return not self.unexpected and all(item.met for item in self.expected)
