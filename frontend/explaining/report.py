# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `explain()` returns: records of graphs, ops, saved values and graph breaks, and how they read as text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flambeau.frontend.explaining.picture import Picture, html_page, readable_bytes, svg

__all__ = [
    "Explanation",
    "GraphBreak",
    "GraphExplanation",
    "Kernel",
    "OpCount",
    "OpOnHost",
    "Recomputed",
    "SavedValue",
]

_MOST_ROWS = 10  # of a table in the text; the fields have all


@dataclass(frozen=True)
class OpCount:
    """How often an op stands in `@forward` and in `@backward`, as they are before lowering."""

    name: str
    forward: int
    backward: int


@dataclass(frozen=True)
class OpOnHost:
    """An op that PyTorch executes on the host, between compiled segments: why, and `file:line` of the user.

    chosen: it could be compiled, but is not worth it, or not wanted to be.
    """

    name: str
    reason: str
    source: str
    chosen: bool
    count: int


@dataclass(frozen=True)
class SavedValue:
    """What `@backward` takes over from `@forward`.

    kind: "computed" by the forward and kept for the backward alone; an "output", which exists anyway; or an "argument",
    kept as the caller's own tensor. `shape` and `bytes` are those of the explained call; None: known at run time only.
    reason: why it is not computed again; "" where the partitioner does not weigh that, as for arguments.
    """

    kind: Literal["computed", "output", "argument"]
    name: str
    shape: tuple[int, ...] | None
    dtype: str
    bytes: int | None
    source: str
    reason: str = ""


@dataclass(frozen=True)
class Recomputed:
    """An op of the forward that the backward computes again, instead of taking over its result.

    bytes: of the results, as far as their sizes are static. reason: "cheap", "checkpointed" (the user wants it), "not
    in the budget" (`activation_memory_budget`), or "" where the partitioner does not weigh that.
    """

    name: str
    source: str
    count: int
    bytes: int
    reason: str


@dataclass(frozen=True)
class Kernel:
    """Ops that are computed together, and nothing else with them.

    half: "forward" or "backward". kind: what decides its loops, see `flambeau.dialects.calls.kernel`. ops: in order,
    views included. sources: their `file:line`s. read, written: bytes of operands and results, as far as their sizes
    are static. flops: floating-point operations, as far as sizes are static.
    """

    half: Literal["forward", "backward"]
    kind: str
    ops: tuple[str, ...]
    sources: tuple[str, ...]
    read: int
    written: int
    flops: float


@dataclass(frozen=True)
class GraphBreak:
    """Why TorchDynamo ended a graph, and `file:line` of the user."""

    reason: str
    source: str


@dataclass(frozen=True)
class GraphExplanation:
    """One graph.

    failure: why all of it runs in eager; "" if it is compiled. `target`, `flags`: of IREE's compiler; `rung`: which of
    its optimization levels worked. `cache`: "hit", "miss", or "" where the cache was not asked. `seconds`: the steps of
    the compilation in order. `graph_break`: why the graph ends where it does, None if the function is over.
    """

    number: int
    source: str
    backend: str
    failure: str
    native: tuple[OpCount, ...]
    host: tuple[OpOnHost, ...]
    saved: tuple[SavedValue, ...]
    recomputed: tuple[Recomputed, ...]
    kernels: tuple[Kernel, ...]
    target: str
    flags: tuple[str, ...]
    rung: str
    cache: str
    seconds: tuple[tuple[str, float], ...]
    graph_break: GraphBreak | None
    picture: Picture | None

    @property
    def saved_bytes(self) -> int:
        """Memory that is held between forward and backward for the backward alone."""
        return sum(v.bytes or 0 for v in self.saved if v.kind == "computed")


@dataclass(frozen=True)
class Explanation:
    """The graphs of one call, in the order in which they were compiled.

    `stopped`: what ended a dry run before the function did; "" if nothing. `str()` and rich's `print` show all of it.
    """

    function: str
    graphs: tuple[GraphExplanation, ...]
    dry_run: bool
    stopped: str = ""

    @property
    def graph_breaks(self) -> tuple[GraphBreak, ...]:
        """Why there is more than one graph."""
        return tuple(g.graph_break for g in self.graphs if g.graph_break is not None)

    def svg(self, path: Path | str, graph: int = 0) -> None:
        """Write a picture of the graph at position `graph`: forward left, backward right, saved values between."""
        Path(path).write_text(svg(self._picture(graph)), encoding="utf-8")

    def html(self, path: Path | str) -> None:
        """Write one page with the text of the explanation and the pictures of all graphs."""
        pictures = [(f"graph {g.number}", g.picture) for g in self.graphs if g.picture is not None]
        Path(path).write_text(html_page(f"{self.function} explained", str(self), pictures), encoding="utf-8")

    def _picture(self, graph: int) -> Picture:
        if not 0 <= graph < len(self.graphs):
            raise IndexError(f"no graph {graph}; there are {len(self.graphs)}")
        picture = self.graphs[graph].picture
        if picture is None:
            raise ValueError(f"graph {graph} was not imported: {self.graphs[graph].failure}")
        return picture

    def __str__(self) -> str:
        text = StringIO()
        Console(file=text, width=110, color_system=None, force_terminal=False).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        eager = sum(bool(g.failure) for g in self.graphs)
        yield Text(
            f"{self.function}: {_count(len(self.graphs), 'graph')}, {_count(len(self.graph_breaks), 'graph break')}, "
            f"{eager} in eager" + (", dry run" if self.dry_run else ""),
            style="bold",
        )
        for graph in self.graphs:
            yield ""
            yield from _render(graph)
        if self.stopped:
            yield Text(f"\nthe dry run ended here: {self.stopped}", style="yellow")


# --- As text ---------------------------------------------------------------------------------------------------------


def _render(graph: GraphExplanation) -> Iterator[Any]:
    """The parts of one graph's text."""
    title = Text(f"graph {graph.number}", style="bold cyan")
    title.append(f"  {_near(graph.source)}", style="dim")
    yield title
    rows: list[tuple[str, Any]] = []
    if graph.failure:
        rows.append(("in eager", Text(graph.failure, style="red")))
    forward, backward = sum(o.forward for o in graph.native), sum(o.backward for o in graph.native)
    most = ", ".join(f"{_short(o.name)} {o.forward + o.backward}" for o in graph.native[:6])
    rest = ", ..." if len(graph.native) > 6 else ""
    rows.append(("native", f"{forward} ops in the forward, {backward} in the backward: {most}{rest}"))
    host = [(f"{h.count}x", _short(h.name), h.reason, _near(h.source)) for h in graph.host]
    rows.append(("on the host", _grid(host) if host else "nothing"))
    arguments = sum(v.kind == "argument" for v in graph.saved)
    if graph.saved:
        kept = [v for v in graph.saved if v.kind == "computed"]
        rows.append(
            (
                "saved",
                f"{readable_bytes(graph.saved_bytes)} in {_count(len(kept), 'tensor')}, "
                f"besides {_count(arguments, 'argument')} and {len(graph.saved) - len(kept) - arguments} outputs",
            )
        )
        largest = sorted(kept, key=lambda v: -(v.bytes or 0))
        table = [
            (readable_bytes(v.bytes), _tensor(v), _short(v.name), _near(v.source), v.reason) for v in largest
        ]
        if table:
            rows.append(("", _grid(table)))
    again = [
        (f"{r.count}x", _short(r.name), readable_bytes(r.bytes), _near(r.source), r.reason)
        for r in graph.recomputed
    ]
    if graph.saved or again:
        rows.append(("computed again", _grid(again) if again else "nothing"))
    if graph.kernels:
        kinds = Counter(kernel.kind for kernel in graph.kernels)
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        rows.append(("kernels", f"{len(graph.kernels)}: {counts}"))
        rows.append(("", _grid([_kernel(k) for k in sorted(graph.kernels, key=_traffic, reverse=True)])))
    target = " ".join(filter(None, (graph.target, graph.rung and f"(rung {graph.rung})", *graph.flags)))
    rows.append(("backend", f"{graph.backend}: {target}" if target else graph.backend))
    if graph.cache:
        rows.append(("cache", graph.cache))
    rows.append(("seconds", ", ".join(f"{name} {s:.3f}" for name, s in _added_up(graph.seconds))))
    if graph.graph_break:
        rows.append(("ends with", f"{graph.graph_break.reason} {_near(graph.graph_break.source)}".strip()))
    whole = Table.grid(padding=(0, 2))
    whole.add_column(style="dim", no_wrap=True)
    whole.add_column(overflow="fold")
    for name, value in rows:
        whole.add_row(name, Text(value) if isinstance(value, str) else value)
    yield Padding(whole, (0, 0, 0, 2))


def _traffic(kernel: Kernel) -> int:
    return kernel.read + kernel.written


def _kernel(kernel: Kernel) -> tuple[str, ...]:
    names = Counter(map(_short, kernel.ops))
    ops = ", ".join(name if count == 1 else f"{name} {count}x" for name, count in names.items())
    moved = f"{readable_bytes(kernel.read)} in, {readable_bytes(kernel.written)} out"
    return (
        kernel.half,
        kernel.kind,
        moved,
        f"{kernel.flops:.3g} flops",
        ops,
        ", ".join(map(_near, kernel.sources)),
    )


def _grid(rows: Sequence[Sequence[str]]) -> Table:
    """A table; of a long one the first rows."""
    table = Table.grid(padding=(0, 2))
    for _ in rows[0]:
        table.add_column(overflow="fold")
    for row in rows[:_MOST_ROWS]:
        table.add_row(*(Text(cell) for cell in row))
    if len(rows) > _MOST_ROWS:
        table.add_row(Text(f"and {len(rows) - _MOST_ROWS} more", style="dim"))
    return table


def _added_up(seconds: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Steps of one name as one, in the order of their first."""
    total: dict[str, float] = {}
    for name, value in seconds:
        total[name] = total.get(name, 0.0) + value
    return list(total.items())


def _tensor(value: SavedValue) -> str:
    return (
        f"{value.dtype} {'x'.join(map(str, value.shape))}".strip() if value.shape is not None else value.dtype
    )


def _near(source: str) -> str:
    """`file:line`, with the file as it is seen from the working directory if it is inside."""
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source


def _short(name: str) -> str:
    return name.removeprefix("flambeau.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
