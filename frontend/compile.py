# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compile(): PyTorch in, callable out. A thin layer over torch.compile, and the backend that TorchDynamo calls.

One graph goes through capture, import, the passes of its stage and the backend; what cannot be compiled runs in
eager, counted.
"""

import itertools
import logging
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import fx

from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.dialects.errors import file_location, source_line
from flambeau.dialects.opdef import OPS
from flambeau.dialects.walk import operations
from flambeau.frontend.calling.autograd import GradientGraph, SecondDerivativeError
from flambeau.frontend.calling.execution import (
    Call,
    bytecode,
    differentiable,
    functions_by_name,
    functions_of_backend,
    interpret,
    link,
    load_compiled,
    refuse_lost_gradients,
    signatures,
    take_host_part,
)
from flambeau.frontend.calling.freezing import Frozen
from flambeau.frontend.calling.signature import Signature, read_signature
from flambeau.frontend.calling.stage_check import CheckedGraph
from flambeau.frontend.calling.wrapper import CompiledGraph, GraphOfBases
from flambeau.frontend.capture.dynamo import capture_dynamo_graph
from flambeau.frontend.capture.held_tensors import held_tensors
from flambeau.frontend.capture.isolation import without_garbage_collection
from flambeau.frontend.capture.records import CapturedGraph, UnsupportedGraphError
from flambeau.frontend.capture.shared_memory import SharedMemory, shared_memory
from flambeau.frontend.forced_ops import forced_ops
from flambeau.frontend.importing.importer import import_graph
from flambeau.frontend.journal import Journal, opened_journal
from flambeau.frontend.options import Options, read_options
from flambeau.frontend.program_cache import Program, place_in_cache
from flambeau.frontend.refused_lines import refused_line
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.partitioning.work import estimate_work
from flambeau.pipelines.passes.force_eager import ForceEager, can_be_forced
from flambeau.pipelines.registry import Pass
from flambeau.pipelines.stages import stage_passes
from flambeau.runtime.artefact_cache import open_cache
from flambeau.runtime.backends import Backend, lookup_backend
from flambeau.runtime.counters import counters
from flambeau.runtime.errors import BackendNotAvailableError, CompileError, LoadError
from flambeau.runtime.iree.compiler import compile_module

_LOG = logging.getLogger(__name__)
_GRAPH_NUMBERS = itertools.count()
_MOST_LINES_REFUSED = 4
"""So often a graph is compiled anew without a source line that IREE refuses, before it is given up."""


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
    held = held_tensors(gm)
    if held is not None:
        inputs = [*example_inputs, *held.tensors()]
        return held.appended(compile_graph(held.as_inputs(), inputs, backend, options))
    number = next(_GRAPH_NUMBERS)
    counters.add("graphs")
    journal = opened_journal(number, backend, gm, example_inputs, keeps_ir=options.check == "stages")
    try:
        with without_garbage_collection():
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
    except Exception:  # noqa: BLE001  (whatever keeps the graph from being compiled may raise here again)
        return ""
    return f"\nthe graph as imported is in {path}"


class _Lowering:
    """A module with one function `@graph` on its way to a callable."""

    def __init__(
        self, module: ir.Module, backend: Backend, options: Options, journal: Journal, folder: Path | None
    ):
        self.backend = backend
        self.options = options
        self.journal = journal
        self.module = module
        self.folder = folder
        self.stages = 0
        self.linked: dict[str, Call] = {}  # the compiled functions
        source = bytecode(module) if self.differentiates() else b""
        self.gradients = _Gradients(source, backend, options, journal, folder)
        self.dump(0, "imported", module)

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
            whole = signatures(self.module)
            return functions_of_backend(compile_fn(self.module, whole), whole)["graph"], whole["graph"]
        facts = self.partition()
        if compile_fn is None:
            linked = {name: interpret(self.module, name)[0] for name in facts}
        elif stop == "partitioned":
            linked = functions_of_backend(compile_fn(self.module, facts), facts)
        else:
            host_module, ops = self.split()
            count(ops)
            lowered = self.lower()
            returned = compile_fn(self.module, lowered) if lowered else {}
            linked = link(host_module, functions_of_backend(returned, lowered), facts)
        self.linked = linked
        return differentiable(linked, facts, self.gradients), facts["forward"]

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
        program = self.program()
        if place:
            place.store(program)
        return self.load(program)

    def program(self) -> Program:
        """What passes and IREE make of the module. PyTorch runs the user's lines that IREE refuses, up to a few.

        CompileError if IREE refuses more, or if it cannot be found out which, or if nothing may run on the host.
        """
        imported, folder = bytecode(self.module), self.folder
        refused: list[str] = []
        while True:
            try:
                return self.compiled_program()
            except CompileError as error:
                if self.options.fallback == "error" or len(refused) == _MOST_LINES_REFUSED:
                    raise
                self.module = _parsed(imported)
                named = (source_line(op.location) for op in operations(self.module) if can_be_forced(op.name))
                lines = [line for line in dict.fromkeys(named) if line and line not in refused]
                line = refused_line(error, lines, lambda lines: self.compiles(imported, [*refused, *lines]))
                if line is None:
                    raise
                refused.append(line)
                counters.add("lines.refused")
                warnings.warn(
                    f"graph {self.journal.number}: PyTorch runs the ops of {line} on the host, because IREE refuses "
                    f"{error.op or 'what is made of them'}: {error.summary}",
                    FlambeauWarning,
                    stacklevel=2,
                )
            self.journal.stages.clear()
            self.folder = folder and folder / f"again_{len(refused)}"
            self.dump(0, "imported", self.module)
            self.run_passes([ForceEager(lines=";".join(refused))])

    def compiled_program(self, reproducer_dir: str | None = None) -> Program:
        """What passes and IREE make of the module as it is."""
        program = self.lowered()
        if functions_by_name(self.module):  # not all of it runs on the host
            artefact = compile_module(
                bytecode(self.module),
                self.backend,
                extra_flags=self.options.iree_flags,
                reproducer_dir=reproducer_dir,
            )
            program = replace(program, artefact=artefact)
            self.journal.step("iree")
        return program

    def compiles(self, imported: bytes, lines: Sequence[str]) -> bool:
        """Whether IREE takes the module with the ops of these `file:line` on the host."""
        journal = Journal(self.journal.number, self.backend, self.journal.graph, (), keeps_ir=False)
        trial = _Lowering(_parsed(imported), self.backend, self.options, journal, None)
        trial.run_passes([ForceEager(lines=";".join(lines))])
        with tempfile.TemporaryDirectory() as folder:
            try:
                trial.compiled_program(folder)
            except CompileError:
                return False
        return True

    def lowered(self) -> Program:
        """What the passes make of the module, without an artefact yet; `self.module` is what it is to be made of."""
        from flambeau.runtime.iree.session import estimate_seconds

        self.run_passes(stage_passes("functional"))
        self.partition()
        host_module, ops = self.split()
        work = [estimate_work(function) for function in functions_by_name(self.module).values()]
        seconds = max((estimate_seconds(w.flops, w.bytes) for w in work), default=0.0)
        self.lower()
        return Program(bytecode(host_module), None, seconds, ops)

    def load(self, program: Program) -> tuple[Call, Signature]:
        """A program's functions as one callable, and the facts of the forward."""
        with self.module.context, ir.Location.unknown():
            host_module = ir.Module.parse(program.host)
        self.gradients.forgets_draws = any(
            map(_draws_for_compiler, fn.functions(host_module, declarations=True))
        )
        declared = {f.name.value: read_signature(f) for f in fn.functions(host_module, declarations=True)}
        compiled: dict[str, Call] = {}
        if program.artefact is not None:
            self.journal.artefact = program.artefact
            of_artefact = {name: declared[name] for name in program.artefact.functions}
            compiled = load_compiled(
                program.artefact,
                self.backend,
                of_artefact,
                program.seconds,
                open_cache(self.options.cache_dir),
            )
            self.journal.step("load")
        count(program.ops)
        facts = {name: declared[name] for name in ("forward", "backward") if name in declared}
        self.linked = link(host_module, compiled, facts)
        resident = self.backend.device != "local"
        call = differentiable(self.linked, facts, self.gradients, resident)
        if self.options.freezing and resident and "backward" not in facts:
            call = Frozen(call, facts["forward"], self.backend.device)
        return call, facts["forward"]

    def partition(self) -> dict[str, Signature]:
        """Go on from values only to `@forward` and `@backward`; their facts."""
        if self.differentiates():
            instead = {"partition": self.options.partition_passes}
            self.run_passes(stage_passes("partitioned", instead))
            if not {"forward", "backward"} >= functions_by_name(self.module).keys():
                reason = f"the pipeline {self.options.partitioner!r} leaves no @forward and @backward"
                raise UnsupportedGraphError("partitioner", None, reason)
        else:
            self.run_passes(stage_passes("forward"))
        if self.options.saved_dtype != "unchanged":
            self.run_passes(f"narrow-saved{{dtype={self.options.saved_dtype}}},cse")
        facts = signatures(self.module)
        refuse_lost_gradients(facts)
        return facts

    def split(self) -> tuple[Any, dict[str, int]]:
        """Take what runs on the host out of the module; that part, and how many ops run where."""
        instead = {"split": f"split{{min-block-size={self.options.min_block_size}}}"}
        self.run_passes(stage_passes("split", instead))
        host_module = take_host_part(self.module)
        return host_module, self.ops_counted(host_module, self.module)

    def lower(self) -> dict[str, Signature]:
        """Lower the functions that are left, if any; their facts."""
        facts = signatures(self.module)
        if facts:
            self.run_passes(self.options.pipeline or stage_passes(self.backend.pipeline))
        return facts

    def ops_counted(self, *modules: Any) -> dict[str, int]:
        """Counts of the ops that run on the host and of the others; UnsupportedGraphError if none may run there."""
        on_host = [op for module in modules for op in host.ops_on_host(module)]
        refused = [op for op in on_host if not op.chosen]
        if refused and self.options.fallback == "error":
            by_name: dict[str, host.HostOp] = {}
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
        return any(a.requires_grad for a in signatures(self.module)["graph"].arguments)

    def run_passes(self, pipeline: str | Sequence[Pass | str]) -> None:
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


class _Compilation(_Lowering):
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
        forced = forced_ops(options.force_eager)
        self.captured: CapturedGraph = capture_dynamo_graph(gm, example_inputs, forced)
        self.shared = shared_memory(self.captured, example_inputs)
        if self.shared is not None:
            self.captured = capture_dynamo_graph(gm, example_inputs, forced, self.shared)
            journal.example_inputs = self.shared.merged(example_inputs) or ()
        # What compiled code keeps for calls that it does not cover; it must not keep this object and its inputs.
        self.eager = gm.forward if self.shared is None else partial(_split_first, gm.forward, self.shared)
        journal.captured = self.captured
        journal.step("capture")
        module = import_graph(self.captured, create_context(), forced)
        folder = options.dump / f"{journal.number}" if options.dump else None
        super().__init__(module, backend, options, journal, folder)

    def run(self) -> Callable[..., Any]:
        """All remaining steps."""
        graph: Callable[..., Any] = self.wrapped(*self.executable())
        if self.options.check == "stages":
            refuse = partial(_refuse_stage, self.options.fallback)
            graph = CheckedGraph(
                graph, self.eager, self.journal, self.linked, self.wrapped, refuse, self.folder
            )
        if self.shared is None:
            return graph
        refuse_call = partial(_refuse_call, self.options.fallback)
        members = ((i, o.is_member) for i, o in enumerate(self.captured.outputs))
        returned = {output: member for output, member in members if member is not None}
        return GraphOfBases(graph, self.shared, returned, self.gm.forward, refuse_call)

    def wrapped(self, call: Call, facts: Signature) -> CompiledGraph:
        """The whole graph, from what computes the results that `facts` describes."""
        constants = {i: o.value for i, o in enumerate(self.captured.outputs) if o.kind == "constant"}
        repeated = {i: o.value for i, o in enumerate(self.captured.outputs) if o.kind == "repeated"}
        return CompiledGraph(
            call,
            facts,
            len(self.captured.outputs),
            constants,
            repeated,
            eager=self.eager,
            refuse_call=partial(_refuse_call, self.options.fallback),
            grad_enabled_after=self.captured.grad_enabled_after,
        )


def _split_first(eager: Callable[..., Any], shared: SharedMemory, *arguments: Any) -> Any:
    """The original graph, on the arguments of the one whose arguments are bases."""
    return eager(*shared.split(arguments))


def _draws_for_compiler(function: Any) -> bool:
    """Whether a host function draws random numbers because a compiler refuses the line of an op of ours."""
    drawn = host.ONCE in function.operation.attributes
    return drawn and host.name_of(function).startswith("flambeau.")


class _Gradients:
    """Compiles the gradients of a module as graphs of their own, when they are to be differentiated.

    `source`: the module as bytecode, empty if nothing in it is differentiated. `forgets_draws`: the compiled forward
    draws numbers that no later run can draw again.
    """

    def __init__(
        self, source: bytes, backend: Backend, options: Options, journal: Journal, folder: Path | None
    ):
        self._source = source
        self._backend = backend
        self._options = options
        self._number, self._graph = journal.number, journal.graph
        self._folder = folder
        self._compiled: dict[tuple[frozenset[int], frozenset[int]], GradientGraph | str] = {}
        self._compiling = threading.Lock()
        self.forgets_draws = False

    def __call__(self, gradients: frozenset[int], tangents: frozenset[int]) -> GradientGraph:
        """See `CompileGradients`."""
        key = gradients, tangents
        with self._compiling:  # a second thread waits for what the first one compiles
            found = self._compiled.get(key)
            if found is None:
                try:
                    found = self._compiled[key] = self._compile(*key)
                except Exception as error:
                    self._compiled[key] = str(error)
                    raise SecondDerivativeError(str(error)) from error
        if isinstance(found, str):
            raise SecondDerivativeError(found)
        return found

    def _compile(self, gradients: frozenset[int], tangents: frozenset[int]) -> GradientGraph:
        if self.forgets_draws:
            raise UnsupportedGraphError("a random op", None, "its draw on the host cannot be repeated")
        counters.add("graphs.gradients")
        module = _parsed(self._source)
        kept = f"keep-gradients{{gradients='{_semicolons(gradients)}' tangents='{_semicolons(tangents)}'}}"
        run_pipeline(module, stage_passes("functional"))
        run_pipeline(module, stage_passes("gradients", {"keep-gradients": kept}))
        journal = Journal(self._number, self._backend, self._graph, (), keeps_ir=False)
        folder = self._folder / f"gradients_{len(self._compiled)}" if self._folder else None
        return GradientGraph(*_Lowering(module, self._backend, self._options, journal, folder).executable())


def _parsed(source: bytes) -> ir.Module:
    with create_context(), ir.Location.unknown():
        return ir.Module.parse(source)


def _semicolons(numbers: Iterable[int]) -> str:
    return ";".join(map(str, sorted(numbers)))


def count(numbers: Mapping[str, int]) -> None:
    """Add to the counters."""
    for name, number in numbers.items():
        counters.add(name, number)


def _refuse_call(fallback: str, reason: str) -> None:
    """A call that the compiled code does not cover: count it, or raise."""
    if fallback == "error":
        raise CompilationError(f"{reason}: the compiled code does not cover this")
    counters.add("calls.eager")
    warnings.warn(f"{reason}: this call runs in eager", FlambeauWarning, stacklevel=3)


def _refuse_stage(fallback: str, difference: str) -> None:
    """The check of a graph's stages found one that is wrong: raise, or count it."""
    if fallback == "error":
        raise CompilationError(difference)
    counters.add("graphs.eager")
    warnings.warn(f"{difference}\nthis graph runs in eager", FlambeauWarning, stacklevel=4)
