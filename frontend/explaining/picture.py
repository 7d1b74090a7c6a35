# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The picture of a graph and its derivative: `@forward` and `@backward` in, SVG or one HTML page out.

One row per module and source line: what runs there forward in the left box, its derivative in the right one, and
between them what is saved. Forward goes down, backward goes up.
"""

import linecache
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.dialects.errors import file_location, made_by_autodiff, module_name
from flambeau.frontend.calling.signature import read_signature
from flambeau.frontend.capture.records import plain_source

__all__ = ["Box", "Edge", "Picture", "html_page", "picture_of", "readable_bytes", "svg"]

Half = Literal["forward", "backward"]

Place = tuple[str, str, int]
"""Module name, file and line; where neither is known, an op's name stands for the module."""


@dataclass
class Box:
    """What one half of the graph does for one row.

    ops: how often each op. `recomputed`: how many of them belong to the forward. `host`: names of those that run on
    the host. `arguments`: the forward's arguments that the backward uses here. `details`: one line per op.
    """

    half: Half
    row: int
    ops: Counter[str] = field(default_factory=Counter)
    recomputed: int = 0
    host: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Edge:
    """Values that go from one box to another: how many and, if they are saved, how many bytes (None: unknown)."""

    source: tuple[Half, int]
    target: tuple[Half, int]
    values: int
    saved: bool
    bytes: int | None = None


@dataclass(frozen=True)
class Picture:
    """Rows (a place each), boxes by half and row, and edges."""

    rows: tuple[Place, ...]
    boxes: Mapping[tuple[Half, int], Box]
    edges: tuple[Edge, ...]


def picture_of(
    halves: Mapping[str, Any], sizes: Sequence[int | None] = (), on_host: Iterable[host.HostOp] = ()
) -> Picture:
    """The picture of `{"forward": function, "backward": function}`, the second of which may be missing.

    `sizes`: the bytes of each result of the forward, where known. `on_host`: the ops that run on the host.
    """
    drawing = _Drawing()
    drawing.add_forward(halves["forward"])
    if "backward" in halves:
        drawing.add_backward(halves["forward"], halves["backward"], sizes)
    edges = [
        Edge(source, target, len(set(values)), saved=False)
        for (source, target), values in drawing.flow.items()
        if source != target
    ]
    for op in on_host:
        half: Half = "backward" if made_by_autodiff(op.location) else "forward"
        for box in drawing.boxes.values():
            name = op.name.removeprefix("flambeau.")
            if box.half == half and drawing.rows[box.row] == _place(op) and name not in box.host:
                box.host.append(name)
    for (source, target), saved in drawing.saved.items():
        known = [size for size in saved.values() if size is not None]
        total = sum(known) if len(known) == len(saved) else None
        edges.append(Edge(source, target, len(saved), saved=True, bytes=total))
    return Picture(tuple(drawing.rows), drawing.boxes, tuple(edges))


class _Drawing:
    """Collects boxes and edges, op by op."""

    def __init__(self) -> None:
        self.rows: list[Place] = []
        self.boxes: dict[tuple[Half, int], Box] = {}
        self.flow: dict[tuple[tuple[Half, int], tuple[Half, int]], list[ir.Value]] = {}
        self.saved: dict[tuple[tuple[Half, int], tuple[Half, int]], dict[int, int | None]] = {}
        self._home: dict[ir.Value, tuple[Half, int]] = {}  # in which box a value comes about

    def add_forward(self, function: Any) -> None:
        for op in fn.operations(fn.entry_block(function))[:-1]:
            if _is_size_or_constant(op):
                continue  # not drawn: what uses them is no neighbour of what they come from
            place = _place(op)
            if not self.rows or self.rows[-1] != place:
                self.rows.append(place)
            self._put(op, "forward", len(self.rows) - 1)

    def add_backward(self, forward: Any, backward: Any, sizes: Sequence[int | None]) -> None:
        facts, names = read_signature(backward), read_signature(forward).arguments
        returned = fn.terminator(fn.entry_block(forward)).operands
        block = fn.entry_block(backward)
        results = {}  # of the forward, by the argument of the backward that takes them over
        arguments = {}
        for value, fact in zip(block.arguments, facts.arguments, strict=True):
            if fact.of_argument is not None:
                name = plain_source(names[fact.of_argument].name)
                arguments[value] = name or f"argument {fact.of_argument}"
            elif fact.role == "saved" and fact.dtype is not None and fact.of_result is not None:
                results[value] = fact.of_result
        again, derivative = 0, max(len(self.rows) - 1, 0)
        for op in fn.operations(block)[:-1]:
            if _is_size_or_constant(op):
                continue  # not drawn: what uses them is no neighbour of what they come from
            if made_by_autodiff(op.location):  # in the reverse order of the forward
                derivative = row = self._nearest(_place(op), derivative, -1)
            else:
                again = row = self._nearest(_place(op), again, 1)
            box = self._put(op, "backward", row)
            for operand in op.operands:
                if operand in results:
                    index = results[operand]
                    source = self._home.get(returned[index])
                    if source is not None:
                        size = sizes[index] if index < len(sizes) else None
                        self.saved.setdefault((source, ("backward", row)), {})[index] = size
                elif operand in arguments and arguments[operand] not in box.arguments:
                    box.arguments.append(arguments[operand])

    def _nearest(self, place: Place, start: int, step: int) -> int:
        """The row of that place that comes first from `start` in the direction `step`; `start` if there is none."""
        ahead = range(start, len(self.rows) if step > 0 else -1, step)
        behind = range(start, -1 if step > 0 else len(self.rows), -step)
        return next((row for row in (*ahead, *behind) if self.rows[row] == place), start)

    def _put(self, op: ir.Operation, half: Half, row: int) -> Box:
        key = half, row
        box = self.boxes.setdefault(key, Box(half, row))
        callee = host.callee(op)
        name = host.target(callee) if callee is not None else op.name.removeprefix("flambeau.")
        box.ops[name] += 1
        if half == "backward" and not made_by_autodiff(op.location):
            box.recomputed += 1
        box.details.append(f"{name} -> {', '.join(str(r.type) for r in op.results)}")
        for operand in op.operands:
            source = self._home.get(operand)
            if source is not None:
                self.flow.setdefault((source, key), []).append(operand)
        self._home.update(dict.fromkeys(op.results, key))
        return box


def _is_size_or_constant(op: ir.Operation) -> bool:
    return op.name.startswith("arith.") or op.name in ("flambeau.constant", "flambeau.dim")


def _place(op: ir.Operation | host.HostOp) -> Place:
    found = file_location(op.location)
    module = module_name(op.location)
    if found is None:
        return (module or op.name, "", 0)
    return (module, found[0], found[1])


# --- SVG -------------------------------------------------------------------------------------------------------------

_WIDTH, _BOX = 1060, 330  # of the picture and of a box
_LEFT, _RIGHT = 90, _WIDTH - 90 - _BOX
_LINE, _PADDING, _GAP, _TOP = 15, 7, 16, 46
_FAR = 12  # rows

_STYLE = """
svg { font: 11px system-ui, sans-serif; background: #fff; }
.box { fill: #eef3fb; stroke: #6b8cc4; } .backward { fill: #f3f0fa; stroke: #9b82c9; }
.host { fill: #fdeeda; stroke: #d98a1f; stroke-width: 2; }
.where { fill: #666; } .ops { fill: #111; } .code { fill: #222; font-family: ui-monospace, monospace; }
.note { fill: #a05a00; } .title { font-size: 15px; font-weight: 600; fill: #333; }
.flow { fill: none; stroke: #b4b8c0; } .far { fill: none; stroke: #dfe2e8; }
.saved { fill: none; stroke: #d03050; stroke-width: 2; }
.bytes { fill: #d03050; font-weight: 600; paint-order: stroke; stroke: #fff; stroke-width: 4px; }
"""


def svg(picture: Picture) -> str:
    """The picture as an SVG document."""
    texts = {key: _text(box, picture.rows[box.row]) for key, box in picture.boxes.items()}
    tops, y = [], _TOP
    for row in range(len(picture.rows)):
        tops.append(y)
        lines = max((len(text) for (_, r), text in texts.items() if r == row), default=1)
        y += lines * _LINE + 2 * _PADDING + _GAP
    heights = {key: len(text) * _LINE + 2 * _PADDING for key, text in texts.items()}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="context-stroke"/></marker></defs>',
        f'<text class="title" x="{_LEFT}" y="26">forward</text>',
        f'<text class="title" x="{_RIGHT}" y="26">backward</text>',
    ]
    for edge in sorted(picture.edges, key=lambda e: e.saved):
        parts.append(_edge(edge, tops, heights))
    for key, box in picture.boxes.items():
        parts.append(_box(box, texts[key], tops[box.row], heights[key]))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(box: Box, place: Place) -> list[tuple[str, str]]:
    """The lines of a box: CSS class and text."""
    module, file, line = place
    where = "  ".join(filter(None, (module, f"{Path(file).name}:{line}" if file else "")))
    lines = [("where", _cut(where, 58))]
    if box.half == "forward" and file:
        lines.append(("code", _cut(linecache.getline(file, line).strip(), 48)))
    counted = [name if count == 1 else f"{name} x{count}" for name, count in box.ops.items()]
    lines += [("ops", text) for text in _wrapped(counted, 58)]
    if box.host:
        lines.append(("note", _cut(f"on the host: {', '.join(box.host)}", 58)))
    if box.recomputed:
        lines.append(("note", f"{box.recomputed} computed again"))
    if box.arguments:
        lines.append(("where", _cut(f"uses {', '.join(box.arguments)}", 52)))
    return lines


def _box(box: Box, text: Sequence[tuple[str, str]], top: int, height: int) -> str:
    left = _LEFT if box.half == "forward" else _RIGHT
    kind = "host" if box.host else "box" if box.half == "forward" else "box backward"
    parts = [
        f"<g><title>{escape(chr(10).join(box.details))}</title>"
        f'<rect class="{kind}" x="{left}" y="{top}" width="{_BOX}" height="{height}" rx="5"/>'
    ]
    for number, (style, line) in enumerate(text):
        y = top + _PADDING + 11 + number * _LINE
        parts.append(f'<text class="{style}" x="{left + 9}" y="{y}">{escape(line)}</text>')
    return "".join(parts) + "</g>"


def _edge(edge: Edge, tops: Sequence[int], heights: Mapping[tuple[Half, int], int]) -> str:
    (half, start), (other, end) = edge.source, edge.target
    if edge.saved or half != other:
        x0, x1 = _LEFT + _BOX, _RIGHT
        y0, y1 = tops[start] + heights[edge.source] // 2, tops[end] + heights[edge.target] // 2
        middle = (x0 + x1) // 2
        path = f"M{x0} {y0} C{middle} {y0} {middle} {y1} {x1} {y1}"
        label = readable_bytes(edge.bytes) + (f" ({edge.values} tensors)" if edge.values > 1 else "")
        return (
            f'<path class="saved" d="{path}" marker-end="url(#tip)"/>'
            f'<text class="bytes" x="{middle}" y="{(y0 + y1) // 2 - 4}" text-anchor="middle">{label}</text>'
        )
    x = _LEFT + _BOX // 2 if half == "forward" else _RIGHT + _BOX // 2
    if abs(end - start) == 1:
        down = end > start
        y0 = tops[start] + (heights[edge.source] if down else 0)
        y1 = tops[end] + (0 if down else heights[edge.target])
        return f'<path class="flow" d="M{x} {y0} L{x} {y1}" marker-end="url(#tip)"/>'
    # Past the rows between, on the outer side.
    x = _LEFT if half == "forward" else _RIGHT + _BOX
    reach = min(12 + 4 * abs(end - start), 80) * (-1 if half == "forward" else 1)
    y0, y1 = tops[start] + heights[edge.source] - 9, tops[end] + 9
    path = f"M{x} {y0} C{x + reach} {y0} {x + reach} {y1} {x} {y1}"
    style = "flow" if abs(end - start) < _FAR else "far"
    return f'<path class="{style}" d="{path}" marker-end="url(#tip)"/>'


def _wrapped(words: Iterable[str], width: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 2 <= width:
            lines[-1] += f", {word}"
        else:
            lines.append(_cut(word, width))
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def readable_bytes(number: int | None) -> str:
    """A number of bytes with three digits or so; None is not known before run time."""
    if number is None:
        return "size known at run time"
    if number < 1024:
        return f"{number} B"
    power = min((number.bit_length() - 1) // 10, 3)
    return f"{number / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


# --- HTML ------------------------------------------------------------------------------------------------------------


def html_page(title: str, text: str, pictures: Sequence[tuple[str, Picture]]) -> str:
    """A page without outside references: the text, then the pictures under their titles."""
    body = "\n".join(f"<h2>{escape(name)}</h2>\n{svg(picture)}" for name, picture in pictures)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        "<style>body { font-family: system-ui, sans-serif; margin: 2em; } pre { font-size: 12px; }</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n<pre>{escape(text)}</pre>\n{body}\n</body></html>\n"
    )
