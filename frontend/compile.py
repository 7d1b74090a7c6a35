# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compile(): PyTorch in, callable out. A thin layer over torch.compile, and the backend that TorchDynamo calls.

One graph goes through capture, import, the passes of its stage and the backend; what cannot be compiled runs in
eager, counted.
"""

import itertools
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import fx

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.frontend.capture import capture_dynamo_graph
from flambeau.frontend.execution import (
    Call,
    bytecode,
    differentiable,
    functions_by_name,
    functions_of_backend,
    interpret,
    link,
    load_compiled,
    refuse_lost_gradients,
    take_host_part,
)
from flambeau.frontend.facts import Signature, read_signature
from flambeau.frontend.importer import import_graph
from flambeau.frontend.journal import Journal, opened_journal
from flambeau.frontend.options import Options, read_options
from flambeau.frontend.program_cache import Program, place_in_cache
from flambeau.frontend.signature import CapturedGraph, UnsupportedGraphError
from flambeau.frontend.stage_check import CheckedGraph
from flambeau.frontend.wrapper import CompiledGraph
from flambeau.pipelines import functions as fn
from flambeau.pipelines import host_functions
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.errors import file_location
from flambeau.pipelines.pipelines import stage_passes
from flambeau.pipelines.walk import operations
from flambeau.pipelines.work import estimate_work
from flambeau.runtime.artefact_cache import open_cache
from flambeau.runtime.backends import Backend, lookup_backend
from flambeau.runtime.counters import counters
from flambeau.runtime.errors import BackendNotAvailableError, LoadError
from flambeau.runtime.iree_compiler import compile_module

_LOG = logging.getLogger(__name__)
_GRAPH_NUMBERS = itertools.count()


class FlambeauWarning(UserWarning):
    """A graph runs in eager."""


class CompilationError(RuntimeError):
    """A graph cannot be compiled and `fallback="error"`. The cause names op, user line and reason."""


def compile(
    fn_or_module: Callable[..., Any] | None = None,
    *,
    backend: str | Backend = "cpu",
    dynamic: bool | None = None,
    fullgraph: bool = False,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Compile a function or module; also a decorator, with or without arguments.

    `backend`: a name (`flambeau.list_backends()`) or record. `dynamic`, `fullgraph`: as for torch.compile. `mode`:
    "default" or "max-autotune". `options`: see `flambeau.frontend.options.Options`. What comes back is what
    torch.compile returns, so a module stays a module. ValueError or UnknownBackendError at once for an unknown
    backend, mode or option.
    """
    record = lookup_backend(backend) if isinstance(backend, str) else backend
    read_options(options, mode)
    if fn_or_module is None:
        return lambda function: compile(
            function, backend=record, dynamic=dynamic, fullgraph=fullgraph, mode=mode, options=options
        )
    frozen = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in (options or {}).items())
    return torch.compile(
        fn_or_module, backend=_dynamo_backend(record, mode, frozen), dynamic=dynamic, fullgraph=fullgraph
    )


@cache
def _dynamo_backend(
    backend: Backend, mode: str | None, options: tuple[tuple[str, Any], ...]
) -> Callable[..., Any]:
    """One function per backend and options: TorchDynamo compiles again when it is given another one."""

    def compile_for_backend(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        return compile_graph(gm, example_inputs, backend, read_options(dict(options), mode))

    compile_for_backend.__name__ = f"flambeau_{backend.name}"
    return compile_for_backend


def compile_graph(
    gm: fx.GraphModule, example_inputs: Sequence[Any], backend: Backend, options: Options
) -> Callable[..., Any]:
    """Compile one TorchDynamo graph for a backend; call it from inside a Dynamo backend."""
    number = next(_GRAPH_NUMBERS)
    counters.add("graphs")
    journal = opened_journal(number, backend, gm, example_inputs, keeps_ir=options.check == "stages")
    try:
        return _Compilation(gm, example_inputs, backend, options, journal).run()
    except BackendNotAvailableError:
        raise  # nothing is wrong with the graph: who asks for a device wants to know that it is missing
    except Exception as error:
        journal.failure = error
        if options.fallback == "error":
            raise CompilationError(
                f"graph {number} cannot be compiled for backend {backend.name!r}: {error}"
            ) from error
        counters.add("graphs.eager")
        warnings.warn(
            f"graph {number} runs in eager, because it cannot be compiled for backend {backend.name!r}: {error}\n"
            f'compile with options={{"fallback": "error"}} to get this as an exception{_reproducer(journal)}',
            FlambeauWarning,
            stacklevel=2,
        )
        _LOG.info("why graph %d runs in eager", number, exc_info=error)
        return gm.forward


def _reproducer(journal: Journal) -> str:
    """Write the graph as imported to a file; a line that names it, empty where no IR can be had."""
    if journal.captured is None:
        return ""
    try:
        module = import_graph(journal.captured, create_context())
        path = Path(tempfile.mkdtemp(prefix="flambeau-")) / f"graph_{journal.number}.mlir"
        path.write_text(module.operation.get_asm(enable_debug_info=True))
    except (UnsupportedGraphError, OSError):
        return ""
    return f"\nthe graph as imported is in {path}"


class _Compilation:
    """One graph on its way from FX to a callable."""

    def __init__(
        self,
        gm: fx.GraphModule,
        example_inputs: Sequence[Any],
        backend: Backend,
        options: Options,
        journal: Journal,
    ):
        self.gm = gm
        self.backend = backend
        self.options = options
        self.journal = journal
        self.captured: CapturedGraph = capture_dynamo_graph(gm, example_inputs)
        journal.captured = self.captured
        journal.step("capture")
        self.module = import_graph(self.captured, create_context())
        self.folder = options.dump / f"{journal.number}" if options.dump else None
        self.stages = 0
        self.linked: dict[str, Call] = {}  # the compiled functions
        self.dump(0, "imported", self.module)

    def run(self) -> Callable[..., Any]:
        """All remaining steps."""
        compiled = self.wrapped(*self.executable())
        if self.options.check == "nothing":
            return compiled
        refuse = partial(_refuse_stage, self.options.fallback)
        return CheckedGraph(
            compiled, self.gm.forward, self.journal, self.linked, self.wrapped, refuse, self.folder
        )

    def wrapped(self, call: Call, facts: Signature) -> CompiledGraph:
        """The whole graph, from what computes the results that `facts` describes."""
        constants = {i: o.value for i, o in enumerate(self.captured.outputs) if o.kind == "constant"}
        return CompiledGraph(
            call,
            facts,
            len(self.captured.outputs),
            constants,
            eager=self.gm.forward,
            refuse_overlap=partial(_refuse_overlap, self.options.fallback),
            grad_enabled_after=self.captured.grad_enabled_after,
        )

    def executable(self) -> tuple[Call, Signature]:
        """The module as one callable over its forward's arguments, and the facts of the forward."""
        if self.backend.target and self.backend.compile_fn is None:
            return self.compiled()
        stop = self.backend.pipeline
        if stop in ("imported", "functional", "partitioned"):
            count(self.ops_counted(self.module))
        if stop != "imported":
            self.run_passes(stage_passes("functional"))
        compile_fn = self.backend.compile_fn
        if stop in ("imported", "functional"):
            if compile_fn is None:
                return interpret(self.module, "graph")
            if self.differentiates():
                raise ValueError(
                    f"backend {self.backend.name!r} stops at {stop!r}, which has no backward: call it under no_grad"
                )
            whole = {"graph": read_signature(functions_by_name(self.module)["graph"])}
            return functions_of_backend(compile_fn(self.module, whole), whole)["graph"], whole["graph"]
        facts = self.partition()
        if compile_fn is None:
            linked = {name: interpret(self.module, name)[0] for name in facts}
        elif stop == "partitioned":
            linked = functions_of_backend(compile_fn(self.module, facts), facts)
        else:
            host, ops = self.split()
            count(ops)
            signatures = self.lower()
            returned = compile_fn(self.module, signatures) if signatures else {}
            linked = link(host, functions_of_backend(returned, signatures), facts)
        self.linked = linked
        return differentiable(linked, facts), facts["forward"]

    def compiled(self) -> tuple[Call, Signature]:
        """The same compiled by IREE, but for the ops that cannot be; from the cache, if that was done before."""
        place = place_in_cache(self.module, self.backend, self.options)
        kept = place.load() if place else None
        if place:
            self.journal.cache = "hit" if kept else "miss"
            self.journal.step("cache")
        if place and kept:
            try:
                loaded = self.load(kept)
            except LoadError as error:
                place.refuse(error)
            else:
                if self.folder or self.journal.keeps_ir:
                    self.lowered()  # for those who want to see the IR after each pass
                return loaded
        program = self.lowered()
        if functions_by_name(self.module):  # not all of it runs on the host
            artefact = compile_module(
                bytecode(self.module), self.backend, extra_flags=self.options.iree_flags
            )
            program = replace(program, artefact=artefact)
            self.journal.step("iree")
        if place:
            place.store(program)
        return self.load(program)

    def lowered(self) -> Program:
        """What the passes make of the module, without an artefact yet; `self.module` is what it is to be made of."""
        from flambeau.runtime.iree_session import estimate_seconds

        self.run_passes(stage_passes("functional"))
        self.partition()
        host, ops = self.split()
        work = [estimate_work(function) for function in functions_by_name(self.module).values()]
        seconds = max((estimate_seconds(w.flops, w.bytes) for w in work), default=0.0)
        self.lower()
        return Program(bytecode(host), None, seconds, ops)

    def load(self, program: Program) -> tuple[Call, Signature]:
        """A program's functions as one callable, and the facts of the forward."""
        with self.module.context, ir.Location.unknown():
            host = ir.Module.parse(program.host)
        signatures = {f.name.value: read_signature(f) for f in fn.functions(host, declarations=True)}
        compiled: dict[str, Call] = {}
        if program.artefact is not None:
            self.journal.artefact = program.artefact
            of_artefact = {name: signatures[name] for name in program.artefact.functions}
            compiled = load_compiled(
                program.artefact,
                self.backend,
                of_artefact,
                program.seconds,
                open_cache(self.options.cache_dir),
            )
            self.journal.step("load")
        count(program.ops)
        facts = {name: signatures[name] for name in ("forward", "backward") if name in signatures}
        self.linked = link(host, compiled, facts)
        return differentiable(self.linked, facts), facts["forward"]

    def partition(self) -> dict[str, Signature]:
        """Go on from values only to `@forward` and `@backward`; their facts."""
        partitioner = {"partition": f"partitioner={self.options.partitioner}"}
        self.run_passes(stage_passes("partitioned" if self.differentiates() else "forward", partitioner))
        facts = {name: read_signature(f) for name, f in functions_by_name(self.module).items()}
        refuse_lost_gradients(facts)
        return facts

    def split(self) -> tuple[Any, dict[str, int]]:
        """Take what runs on the host out of the module; that part, and how many ops run where."""
        names = ";".join(self.options.force_eager)
        options = f"force-eager='{names}' min-block-size={self.options.min_block_size}"
        self.run_passes(stage_passes("split", {"split": options}))
        host = take_host_part(self.module)
        return host, self.ops_counted(host, self.module)

    def lower(self) -> dict[str, Signature]:
        """Lower the functions that are left, if any; their facts."""
        signatures = {name: read_signature(f) for name, f in functions_by_name(self.module).items()}
        if signatures:
            self.run_passes(self.options.pipeline or stage_passes(self.backend.pipeline))
        return signatures

    def ops_counted(self, *modules: Any) -> dict[str, int]:
        """Counts of the ops that run on the host and of the others; UnsupportedGraphError if none may run there."""
        on_host = [op for module in modules for op in host_functions.ops_on_host(module)]
        refused = [op for op in on_host if not op.chosen]
        if refused and self.options.fallback == "error":
            by_name: dict[str, host_functions.HostOp] = {}
            for op in refused:
                by_name.setdefault(op.name, op)
            first, *others = by_name.values()
            place = file_location(first.location)
            reason = f"it would run on the host: {first.reason}"
            if others:
                reason += f" (and so would {', '.join(op.name for op in others)})"
            raise UnsupportedGraphError(first.name, place and place[:2], reason)
        all_ops = sum(op.name in OPS for module in modules for op in operations(module))
        native = all_ops - sum(op.name in OPS for op in on_host)
        return {"ops.native": native, "ops.fallback": len(on_host)}

    def differentiates(self) -> bool:
        """Whether some argument requires a gradient."""
        return any(a.requires_grad for a in read_signature(functions_by_name(self.module)["graph"]).arguments)

    def run_passes(self, pipeline: str) -> None:
        first = self.stages
        run_pipeline(
            self.module,
            pipeline,
            on_stage=lambda i, name, module: self.dump(first + i, name, module),
        )

    def dump(self, index: int, name: str, module: ir.Module) -> None:
        """Note the IR as it is now, and write it to a file, if asked for."""
        self.journal.stage(name, module)
        self.stages = index
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with module.context:
            Path(self.folder / f"{index:02d}_{name}.mlir").write_text(
                module.operation.get_asm(enable_debug_info=True)
            )


def count(numbers: Mapping[str, int]) -> None:
    """Add to the counters."""
    for name, number in numbers.items():
        counters.add(name, number)


def _refuse_overlap(fallback: str, written: str, other: str) -> None:
    """A call gave tensors that share memory, one of them written: count it, or raise."""
    message = f"{written} is written and shares memory with {other}"
    if fallback == "error":
        raise CompilationError(f"{message}: the compiled code does not cover this")
    counters.add("calls.eager")
    warnings.warn(f"{message}: this call runs in eager", FlambeauWarning, stacklevel=3)


def _refuse_stage(fallback: str, difference: str) -> None:
    """The check of a graph's stages found one that is wrong: raise, or count it."""
    if fallback == "error":
        raise CompilationError(difference)
    counters.add("graphs.eager")
    warnings.warn(f"{difference}\nthis graph runs in eager", FlambeauWarning, stacklevel=4)
