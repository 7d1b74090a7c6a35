# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""options={"check": "stages"}: the first call of a graph runs it at every stage, and names the first that goes wrong.

In: the journal of a compilation with the IR after each pass, and the compiled functions. Each stage gets the caller's
own inputs, one random seed and one set of cotangents; its results, updates and gradients must be those of eager.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.dialects.errors import source_line
from flambeau.dialects.opdef import OPS
from flambeau.dialects.walk import operations
from flambeau.frontend.calling.autograd import Execute
from flambeau.frontend.calling.execution import functions_by_name, interpret, signatures
from flambeau.frontend.calling.signature import Signature, read_signature
from flambeau.frontend.calling.wrapper import draw_seed
from flambeau.frontend.capture.records import plain_source
from flambeau.frontend.journal import Journal, Stage
from flambeau.runtime import interpreter

__all__ = ["CheckedGraph", "Difference"]

Flat = Callable[..., Sequence[Any]]
"""A whole graph as TorchDynamo calls it: flat arguments in, flat outputs out."""

# How far a result may be from eager's: units in the last place of its largest element, for sums in another order, and
# how often as far as eager's own result moves when each input is rounded otherwise. Both are choices, not
# measured.
_ULPS, _MOVES = 32, 16


@dataclass(frozen=True)
class Difference:
    """Where a stage is wrong: after which pass, in what value, by how much, and `file:line` of the user if known."""

    stage: str
    value: str
    error: str
    source: str

    def __str__(self) -> str:
        where = f" ({self.source})" if self.source else ""
        return f"after {self.stage}, {self.value}{where} differs from eager: {self.error}"


class CheckedGraph:
    """A compiled graph whose first call checks all stages.

    `wrap` makes a whole graph of a callable and the facts of its results. `functions` are the compiled functions by
    name. When a stage is wrong, `refuse` hears of it, and may raise; otherwise the graph runs in `eager` from then on.
    """

    def __init__(
        self,
        compiled: Flat,
        eager: Flat,
        journal: Journal,
        functions: Mapping[str, Execute],
        wrap: Callable[[Execute, Signature], Flat],
        refuse: Callable[[str], None],
        folder: Path | None,
    ):
        self._run = compiled
        self._eager = eager
        self._check: Callable[..., None] | None = self._check_stages
        self._compiled = compiled
        self._journal = journal
        self._functions = functions
        self._wrap = wrap
        self._refuse = refuse
        self._folder = folder

    def __call__(self, *arguments: Any) -> Sequence[Any]:
        if self._check is not None:
            self._check(*arguments)
            self._check = None
        return self._run(*arguments)

    def _check_stages(self, *arguments: Any) -> None:
        difference = next(self._differences(arguments), None)
        if difference is None:
            return
        folder = self._folder or Path(tempfile.mkdtemp(prefix="flambeau-check-"))
        write_stages(self._journal.stages, folder)
        self._run = self._eager
        self._refuse(f"graph {self._journal.number}: {difference}\nthe IR after each pass is in {folder}")

    def _differences(self, arguments: Sequence[Any]) -> Iterator[Difference]:
        """What is wrong, stage by stage."""
        imported, *later = self._journal.stages
        call, facts = interpret(imported.module(), "graph")
        names = (
            [f"output {i}" for i in range(len(self._journal.captured.outputs))]
            if self._journal.captured
            else []
        )
        names += [f"the new value of {plain_source(a.name)}" for a in facts.arguments]
        names += [f"the gradient of {plain_source(a.name)}" for a in facts.arguments]
        expected, bounds = _with_bounds(lambda given: _observe(self._eager, given), arguments)
        found = _observe(self._wrap(call, facts), arguments)
        yield from _compare(found, expected, bounds, names, "the import", [])

        yield from self._differences_of_passes(arguments, call, facts, later)
        # Random numbers are eager's at the first stage only.
        if not any(_is_seeded(stage) for stage in later):
            found = _observe(self._compiled, arguments)
            yield from _compare(found, expected, bounds, names, "all passes and compilation", [])

    def _differences_of_passes(
        self, arguments: Sequence[Any], imported: Execute, facts: Signature, stages: Sequence[Stage]
    ) -> Iterator[Difference]:
        """Compare the bare functions, without the wrapper around them."""
        rungs = [rung for rung in map(_rung, _after_split(stages)) if rung is not None]
        if self._functions and rungs:
            last = rungs[-1]
            rungs.append(
                _Rung(
                    f"compilation by backend {self._journal.backend.name!r}",
                    self._functions,
                    last.facts,
                    last.module,
                )
            )
        rungs.insert(0, _Rung("the import", {"graph": imported}, {"graph": facts}, None))
        if any(rung.is_seeded for rung in rungs[1:]):
            rungs.pop(0)  # from functionalization on, all draw the same numbers from a seed
        if len(rungs) < 2:
            return
        tangents_of = sorted({i for rung in rungs for i in rung.tangents})
        with _as_compiled(arguments) as given:
            if rungs[0].is_seeded:
                given = [*given, draw_seed()]
            shapes = rungs[0].results(given)
            generator = torch.Generator().manual_seed(0)
            tangents = {
                i: torch.randn(shapes[i].shape, dtype=torch.float64, generator=generator).to(shapes[i].dtype)
                for i in tangents_of
            }
            expected, bounds = _with_bounds(lambda values: rungs[0].run(values, tangents), given)
            for rung in rungs[1:]:
                yield from _compare(
                    rung.run(given, tangents), expected, bounds, rung.names, rung.name, rung.sources
                )


def write_stages(stages: Sequence[Stage], folder: Path) -> None:
    """Write the IR of all stages as `<NN>_<pass>.mlir`."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, stage in enumerate(stages):
        text = stage.module().operation.get_asm(enable_debug_info=True)
        (folder / f"{index:02d}_{stage.name}.mlir").write_text(text)


# --- Stages that can be interpreted ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rung:
    """The functions of a stage: `graph` (with tangents: the joint function), or `forward` and perhaps `backward`."""

    name: str
    functions: Mapping[str, Execute]
    facts: Mapping[str, Signature]
    module: ir.Module | None

    @property
    def _first(self) -> str:
        return "graph" if "graph" in self.functions else "forward"

    @property
    def tangents(self) -> list[int]:
        """The results of the forward that have a tangent at this stage."""
        facts = self.facts.get("backward") or self.facts[self._first]
        return [a.of_result for a in facts.arguments if a.role == "tangent" and a.of_result is not None]

    @property
    def is_seeded(self) -> bool:
        """Whether the graph draws random numbers from a seed."""
        return any(a.role == "seed" for a in self.facts[self._first].arguments)

    def results(self, given: Sequence[Any]) -> list[Any]:
        """The results of the forward, before any derivative is asked for."""
        return self.functions[self._first](given)

    def run(self, given: Sequence[Any], tangents: Mapping[int, torch.Tensor]) -> list[Any]:
        """The results of the forward, then one gradient per argument (None: it has none)."""
        facts = self.facts[self._first]
        gradients: list[Any] = [None] * len(given)
        if self.tangents and self._first == "graph":
            values = iter(given)
            results = self.functions["graph"](
                [tangents[a.of_result] if a.of_result is not None else next(values) for a in facts.arguments]
            )
            for fact, value in zip(facts.results, results, strict=True):
                if fact.gradient_of is not None:
                    gradients[fact.gradient_of] = value
            own = [v for f, v in zip(facts.results, results, strict=True) if f.gradient_of is None]
            return [*own, *gradients]
        if "backward" in self.functions:
            results = self.functions["forward"](given)
            backward = self.facts["backward"]
            values_of = [
                tangents[a.of_result]
                if a.role == "tangent" and a.of_result is not None
                else given[a.of_argument]
                if a.of_argument is not None
                else results[a.of_result]  # type: ignore[index]
                for a in backward.arguments
            ]
            for fact, value in zip(backward.results, self.functions["backward"](values_of), strict=True):
                if fact.gradient_of is not None:
                    gradients[fact.gradient_of] = value
            return [*(v for f, v in zip(facts.results, results, strict=True) if not f.saved), *gradients]
        return self._by_autograd(given, tangents)

    def _by_autograd(self, given: Sequence[Any], tangents: Mapping[int, torch.Tensor]) -> list[Any]:
        facts = self.facts[self._first]
        leaves = {
            i: given[i].detach().requires_grad_()
            for i, a in enumerate(facts.arguments)
            if a.requires_grad and tangents
        }
        with torch.set_grad_enabled(bool(leaves)):
            results = self.functions[self._first]([leaves.get(i, v) for i, v in enumerate(given)])
        roots = [i for i in tangents if results[i].requires_grad]
        gradients: list[Any] = [None] * len(given)
        if roots and leaves:
            found = torch.autograd.grad(
                [results[i] for i in roots],
                list(leaves.values()),
                [tangents[i] for i in roots],
                allow_unused=True,
            )
            for index, gradient in zip(leaves, found, strict=True):
                gradients[index] = gradient
        return [*(r.detach() if isinstance(r, torch.Tensor) else r for r in results), *gradients]

    @property
    def names(self) -> list[str]:
        """What the values of `run` are, for people."""
        facts = self.facts[self._first]
        arguments = [plain_source(a.name) or a.role for a in facts.arguments if a.role != "tangent"]
        results = [
            f"the new value of {arguments[f.updates]}"
            if f.updates is not None
            else f"output {f.output}"
            if f.output is not None
            else f"result {i}"
            for i, f in enumerate(facts.results)
            if f.gradient_of is None and not f.saved
        ]
        return [*results, *(f"the gradient of {name}" for name in arguments)]

    @property
    def sources(self) -> list[str]:
        """The user's line of each value of `run`."""
        if self.module is None:
            return []
        found = functions_by_name(self.module)
        lines = _lines_of_results(found[self._first])
        facts = self.facts[self._first]
        own = [
            line
            for line, f in zip(lines, facts.results, strict=True)
            if f.gradient_of is None and not f.saved
        ]
        gradients = [""] * sum(a.role != "tangent" for a in facts.arguments)
        last = "backward" if "backward" in found else self._first
        for line, fact in zip(_lines_of_results(found[last]), self.facts[last].results, strict=True):
            if fact.gradient_of is not None:
                gradients[fact.gradient_of] = line
        return [*own, *gradients]


def _lines_of_results(function: Any) -> list[str]:
    values = fn.terminator(fn.entry_block(function)).operands
    return ["" if isinstance(v, ir.BlockArgument) else source_line(v.owner.location) for v in values]


def _after_split(stages: Sequence[Stage]) -> Iterator[tuple[str, ir.Module, ir.Module]]:
    """Name and module of each stage, and the module that calls its functions: from `split` on, the host's part."""
    caller = None
    for stage in stages:
        module = stage.module()
        if stage.name == "split":
            caller = module
        yield stage.name, module, caller or module


def _rung(stage: tuple[str, ir.Module, ir.Module]) -> _Rung | None:
    """A stage to be interpreted; None if it left our dialect."""
    name, module, caller = stage
    if not all(_is_interpreted(op) for op in operations(module)):
        return None
    facts = {n: f for n, f in signatures(caller).items() if n in ("graph", "forward", "backward")}
    if caller is module:
        called = interpreter.Module(module)
    else:
        own = interpreter.Module(module)
        compiled = [n for n, f in functions_by_name(module).items() if not host.is_host_function(f)]
        called = interpreter.Module(caller, {n: own.function(n) for n in compiled})
    functions = {n: _execute(called, n) for n in facts}
    return _Rung(f"pass {name!r}", functions, facts, caller)


def _execute(module: interpreter.Module, name: str) -> Execute:
    return lambda arguments: module.call(name, *arguments)


def _is_interpreted(op: ir.Operation) -> bool:
    return op.name in OPS or op.name.startswith(("func.", "arith.")) or op.name == "builtin.module"


def _is_seeded(stage: Stage) -> bool:
    module = stage.module()  # has to outlive its functions
    functions = functions_by_name(module).values()
    return any(a.role == "seed" for function in functions for a in read_signature(function).arguments)


# --- Runs ------------------------------------------------------------------------------------------------------------


def _observe(graph: Flat, arguments: Sequence[Any]) -> list[Any]:
    """Outputs, arguments after the call, and gradients of a whole graph."""
    leaves = [_copy(a) if isinstance(a, torch.Tensor) else a for a in arguments]
    given = [
        leaf.clone() if isinstance(a, torch.Tensor) and a.requires_grad and not a.is_leaf else leaf
        for a, leaf in zip(arguments, leaves, strict=True)
    ]
    with torch.random.fork_rng(), torch.set_grad_enabled(torch.is_grad_enabled()):
        outputs = list(graph(*given))
    generator = torch.Generator().manual_seed(0)
    roots = [o for o in outputs if isinstance(o, torch.Tensor) and o.grad_fn is not None]
    cotangents = [torch.randn(o.shape, dtype=torch.float64, generator=generator).to(o.dtype) for o in roots]
    wanted = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    gradients: list[Any] = [None] * len(leaves)
    if roots and wanted:
        try:
            found: Sequence[Any] = torch.autograd.grad(
                roots, [leaves[i] for i in wanted], cotangents, allow_unused=True
            )
        except RuntimeError as error:  # a value that autograd saved was written
            found = [_Refusal(str(error))] * len(wanted)
        for index, gradient in zip(wanted, found, strict=True):
            gradients[index] = gradient
    values = [*outputs, *given, *gradients]
    return [v.detach() if isinstance(v, torch.Tensor) else v for v in values]


@dataclass(frozen=True)
class _Refusal:
    """In the place of a gradient: autograd's error."""

    message: str


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """A leaf with the same values and strides, in memory of its own."""
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    storage = tensor.untyped_storage().clone()  # type: ignore[no-untyped-call]
    copy = empty.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
    return copy.requires_grad_(tensor.requires_grad)


@contextmanager
def _as_compiled(arguments: Sequence[Any]) -> Iterator[list[Any]]:
    """The arguments as compiled functions get them, under the modes in which they run."""
    with torch.random.fork_rng(), torch.no_grad(), torch._C._DisableAutocast():
        yield [_copy(a).detach() if isinstance(a, torch.Tensor) else a for a in arguments]


# --- Comparison ------------------------------------------------------------------------------------------------------


def _with_bounds(
    run: Callable[[Sequence[Any]], list[Any]], given: Sequence[Any]
) -> tuple[list[Any], list[float]]:
    """What `run` gives, and how far each value may be from it.

    How much rounding matters to a value is seen from another run, in which each input element is one unit in the last
    place larger or smaller. Of integers and booleans the bound is a number of elements.
    """
    expected = run(given)
    generator = torch.Generator().manual_seed(1)

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        copy = _copy(value)
        memory = torch.empty(0, dtype=value.dtype, device=value.device).set_(copy.untyped_storage())
        signs = torch.randint(0, 2, memory.shape, generator=generator).to(value.device, value.dtype) * 2 - 1
        memory.mul_(1 + torch.finfo(value.dtype).eps * signs)
        return copy if value.is_leaf else copy.clone()

    others = run([moved(value) for value in given])
    bounds = []
    for value, other in zip(expected, others, strict=True):
        if (
            not isinstance(value, torch.Tensor)
            or not isinstance(other, torch.Tensor)
            or value.shape != other.shape
        ):
            bounds.append(0.0)
        elif value.is_floating_point() or value.is_complex():
            scale = _largest(value) * torch.finfo(value.dtype).eps
            bounds.append(_ULPS * scale + _MOVES * _largest(value - other))
        else:
            bounds.append(_MOVES * float((value != other).sum()))
    return expected, bounds


def _compare(
    found: Sequence[Any],
    expected: Sequence[Any],
    bounds: Sequence[float],
    names: Sequence[str],
    stage: str,
    sources: Sequence[str],
) -> Iterator[Difference]:
    for index, (value, want, bound) in enumerate(zip(found, expected, bounds, strict=True)):
        error = _error(value, want, bound)
        if error:
            yield Difference(stage, names[index], error, sources[index] if sources else "")


def _error(value: Any, want: Any, bound: float) -> str:
    """What is wrong with a value; "" if nothing is."""
    if isinstance(want, _Refusal):
        return ""  # what eager refuses may be possible where less is saved
    if isinstance(value, _Refusal):
        return value.message
    if not isinstance(value, torch.Tensor) and not isinstance(want, torch.Tensor):
        return "" if value == want else f"{value!r} instead of {want!r}"
    if value is None or want is None:  # a gradient that is not there is one of zeros
        there = want if value is None else value
        return "" if _largest(there) <= bound else f"{'it is missing' if value is None else 'eager has none'}"
    if not (isinstance(value, torch.Tensor) and isinstance(want, torch.Tensor)):
        return f"{value!r} instead of {want!r}"
    if value.dtype != want.dtype or value.shape != want.shape:
        return f"{_type(value)} instead of {_type(want)}"
    if not (want.is_floating_point() or want.is_complex()):
        wrong = int((value != want).sum())
        return "" if wrong <= bound else f"{wrong} of {want.numel()} elements are others"
    if not torch.equal(value.isnan(), want.isnan()):
        return f"{int((value.isnan() != want.isnan()).sum())} of {want.numel()} elements are NaN in one of them only"
    same_infinity = (value == want) & value.isinf()
    error = _largest(torch.where(same_infinity | want.isnan(), 0, value - want))
    if error <= bound:
        return ""
    return f"maximum error {error:.3g} where elements are up to {_largest(want):.3g} and rounding explains {bound:.2g}"


def _largest(tensor: torch.Tensor) -> float:
    finite = torch.nan_to_num(tensor.detach().abs().to(torch.float64), nan=0.0)
    return finite.max().item() if tensor.numel() else 0.0


def _type(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
