# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""explain(): one call of a function in, an `Explanation` of what is compiled, what not and why out.

It is read off the journals that the compilations leave.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from traceback import extract_tb
from typing import Any, Literal
from warnings import catch_warnings, simplefilter

import torch
from torch import fx
from torch._guards import TracingContext
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils import _pytree as pytree

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host, kernel
from flambeau.dialects.errors import made_by_autodiff, source_line
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of
from flambeau.dialects.walk import operations
from flambeau.frontend.calling.execution import functions_by_name
from flambeau.frontend.calling.signature import read_signature
from flambeau.frontend.capture.records import is_torch_file, plain_source, user_location
from flambeau.frontend.compile import FlambeauWarning, compile_graph
from flambeau.frontend.explaining.picture import picture_of
from flambeau.frontend.explaining.report import (
    Explanation,
    GraphBreak,
    GraphExplanation,
    Kernel,
    OpCount,
    OpOnHost,
    Recomputed,
    SavedValue,
)
from flambeau.frontend.journal import Journal, collect_journals
from flambeau.frontend.options import read_options
from flambeau.pipelines.partitioning.joint import Joint
from flambeau.pipelines.partitioning.recompute import Bans, Recomputation, is_free
from flambeau.pipelines.partitioning.work import operation_flops
from flambeau.runtime import interpreter
from flambeau.runtime.backends import Backend, lookup_backend
from flambeau.runtime.interpreter.table import torch_dtype

__all__ = ["Explanation", "explain"]


# --- The call --------------------------------------------------------------------------------------------------------


def explain(
    fn_or_module: Callable[..., Any],
    *,
    backend: str | Backend = "cpu",
    dry_run: bool = False,
    dynamic: bool | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Explanation]:
    """A function that takes the arguments of one call and explains how it is compiled.

    The call is made, once, with code compiled for this purpose: what is compiled already stays. With `dry_run` the
    graphs are neither compiled by IREE nor run: their results are tensors without values, so the explanation ends at
    the first Python statement that needs one, and what the function stores elsewhere must be thrown away. Python code
    between graphs does run. What cannot be compiled is part of the explanation, also with `fallback="error"`.
    """
    record = lookup_backend(backend) if isinstance(backend, str) else backend
    wanted = replace(read_options(options), fallback="eager")
    function = _innermost(fn_or_module)

    def explained(*args: Any, **kwargs: Any) -> Explanation:
        graphs: list[GraphExplanation] = []
        mode = FakeTensorMode(allow_non_fake_inputs=True) if dry_run else None

        def compile_and_note(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
            used = record
            if mode is not None:
                example_inputs = _allocated(example_inputs)
                if record.target or record.compile_fn:  # else the interpreter runs it
                    used = replace(record, compile_fn=_compile_nothing)
            with collect_journals() as journals:
                compiled = compile_graph(gm, example_inputs, used, wanted)
            graphs.append(_explain_graph(journals[0], record, wanted.partitioner))
            return compiled if mode is None else _on_fakes(gm, mode)

        compiled = torch.compile(  # type: ignore[call-overload]
            function, backend=compile_and_note, dynamic=dynamic, isolate_recompiles=True
        )
        if mode is not None:
            args, kwargs = pytree.tree_map_only(torch.Tensor, mode.from_tensor, (args, kwargs))
        stopped = ""
        with catch_warnings():
            simplefilter("ignore", FlambeauWarning)  # it is in the explanation
            try:
                compiled(*args, **kwargs)
            except (DataDependentOutputException, DynamicOutputShapeException) as error:
                if mode is None:
                    raise
                stopped = f"the function needs the value of a tensor ({error.func}){_at(error)}"
        name = getattr(function, "__name__", type(function).__name__)
        return Explanation(name, tuple(graphs), dry_run, stopped)

    return explained


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The user's function or module behind torch.compile's wrappers."""
    while True:
        inner = getattr(function, "_orig_mod", None) or getattr(function, "_torchdynamo_orig_callable", None)
        if inner is None:
            return function
        function = inner


def _compile_nothing(_module: ir.Module, signatures: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """In the place of a compiler, for a dry run."""

    def not_compiled(*_: Any) -> Any:
        raise AssertionError("a dry run executes no compiled code")

    return dict.fromkeys(signatures, not_compiled)


def _on_fakes(gm: fx.GraphModule, mode: FakeTensorMode) -> Callable[..., Any]:
    """The graph on tensors without values, which writes nothing of the caller's."""

    def fake(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        tensor = mode.from_tensor(value)
        if value.dim() == 0 and not isinstance(value, FakeTensor):
            tensor.item_memo = value.item()  # a Python number in disguise: its value may be asked for
        return tensor

    def run(*arguments: Any) -> Any:
        fakes = [fake(a) for a in arguments]
        with mode:
            return gm.forward(*fakes)

    return run


def _allocated(example_inputs: Sequence[Any]) -> list[Any]:
    """Fake tensors as real ones whose memory nobody has touched: capture takes no fakes of others.

    TorchDynamo's symbols for their sizes move to them, and what shares memory still does.
    """
    storages: dict[Any, torch.UntypedStorage] = {}
    context = TracingContext.get()

    def allocate(value: Any) -> Any:
        if not isinstance(value, FakeTensor):
            return value
        old = value.untyped_storage()
        storage = storages.setdefault(old._cdata, torch.UntypedStorage(old.nbytes()))  # type: ignore[no-untyped-call]
        empty = torch.empty(0, dtype=value.dtype)
        real = empty.set_(storage, value.storage_offset(), value.shape, value.stride())
        real.requires_grad_(value.requires_grad)
        symbols = context.tensor_to_context.get(value)  # type: ignore[no-untyped-call]
        if symbols is not None:
            context.tensor_to_context[real] = symbols
        return real if value.is_leaf else real.clone()

    return [allocate(value) for value in example_inputs]


def _at(error: Exception) -> str:
    """Where in the user's code an error came up."""
    frames = [f for f in extract_tb(error.__traceback__) if not is_torch_file(f.filename)]
    users = [f for f in frames if not Path(f.filename).is_relative_to(_OWN_FOLDER)]
    return f" at {users[-1].filename}:{users[-1].lineno}" if users else ""


_OWN_FOLDER = Path(__file__).parent


# --- From a journal --------------------------------------------------------------------------------------------------


def _explain_graph(journal: Journal, backend: Backend, partitioner: str) -> GraphExplanation:
    module = _partitioned(journal)
    halves = _halves(module)
    split = _split(journal) or module
    on_host = list(host.ops_on_host(split)) if split is not None else []
    results = _results_without_values(journal, module)
    artefact = journal.artefact
    reasons = _reasons(journal) if partitioner == "min-cut" and "backward" in halves else _NO_REASONS
    return GraphExplanation(
        number=journal.number,
        source=_graph_source(journal.graph),
        backend=backend.name,
        failure=_first_paragraph(str(journal.failure)) if journal.failure is not None else "",
        native=_native(split),
        host=_host(on_host),
        saved=_saved(journal, halves, results, reasons),
        recomputed=_recomputed(halves, reasons),
        kernels=tuple(_kernels(journal)),
        target=artefact.target if artefact else backend.target,
        flags=artefact.flags if artefact else backend.flags,
        rung=artefact.rung if artefact else "",
        cache=journal.cache or "",
        seconds=tuple(journal.seconds),
        graph_break=_graph_break(journal.graph),
        picture=picture_of(halves, [_measured(r)[1] for r in results], on_host) if halves else None,
    )


def _partitioned(journal: Journal) -> ir.Module | None:
    """The IR after the partition and what belongs to it; before, if the graph did not come so far."""
    names = [stage.name for stage in journal.stages]
    if "partition" not in names:
        return journal.stages[-1].module() if journal.stages else None
    index = len(names) - 1 - names[::-1].index("partition")
    while names[index + 1 : index + 2] in (["cse"], ["narrow-saved"]):
        index += 1
    return journal.stages[index].module()


def _split(journal: Journal) -> ir.Module | None:
    """The IR in which each op stands where it runs; None if the graph did not come so far."""
    return next((stage.module() for stage in reversed(journal.stages) if stage.name == "split"), None)


def _kernels(journal: Journal) -> Iterator[Kernel]:
    """What is computed together, in the order of the kernels' functions."""
    stage = next((stage for stage in reversed(journal.stages) if stage.name == "form-kernels"), None)
    module = stage.module() if stage is not None else None
    for function in kernel.kernels(module) if module is not None else ():
        ops = [op for op in fn.operations(fn.entry_block(function))[:-1] if op.name in OPS]
        computing = [op for op in ops if not OPS[op.name].view]
        yield Kernel(
            half="backward" if function.name.value.startswith("backward") else "forward",
            kind=str(kernel.kind_of(function)),
            ops=tuple(op.name for op in ops if op.name != "flambeau.constant"),
            sources=tuple(sorted({line for op in ops if (line := source_line(op.location))})),
            read=sum(map(_bytes, function.type.inputs)),
            written=sum(map(_bytes, function.type.results)),
            flops=sum(map(operation_flops, computing)),
        )


def _bytes(type_: ir.Type) -> int:
    """Bytes of a tensor of static sizes, 0 for anything else."""
    tensor = _by_type(type_)
    return 0 if tensor is None else tensor.numel() * tensor.element_size()


def _halves(module: ir.Module | None) -> dict[str, Any]:
    """`@forward` (or `@graph`, before the partition) and `@backward`, as far as they are there."""
    if module is None:
        return {}
    found = {f.name.value: f for f in fn.functions(module)}
    forward = found.get("forward") or found.get("graph")
    halves = {"forward": forward, "backward": found.get("backward")}
    return {name: function for name, function in halves.items() if function is not None}


def _computing(function: Any) -> Iterator[ir.Operation]:
    """The dialect's ops in a function that compute something: no constants, no sizes."""
    for op in operations(function.operation):
        if op.name in OPS and op.name not in ("flambeau.constant", "flambeau.dim"):
            yield op


def _native(module: ir.Module | None) -> tuple[OpCount, ...]:
    counts: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for function in fn.functions(module) if module is not None else ():
        backward = function.name.value.startswith("backward")  # or a segment of it
        names = (op.name for op in _computing(function) if host.REASON not in op.attributes)
        counts[backward].update(names)
    rows = [
        OpCount(name, counts[False][name], counts[True][name]) for name in {**counts[False], **counts[True]}
    ]
    return tuple(sorted(rows, key=lambda row: (-row.forward - row.backward, row.name)))


def _host(on_host: Sequence[host.HostOp]) -> tuple[OpOnHost, ...]:
    found = Counter((op.name, op.reason, source_line(op.location), op.chosen) for op in on_host)
    return tuple(OpOnHost(*key, count) for key, count in found.items())


@dataclass(frozen=True)
class _Reasons:
    """Why results of forward ops are saved, and why ops are computed again: by name and location of the op."""

    saved: Mapping[tuple[str, str], str]
    again: Mapping[tuple[str, str], str]


_NO_REASONS = _Reasons({}, {})


def _reasons(journal: Journal) -> _Reasons:
    """What the minimum cut went by, read off the joint function."""
    names = [stage.name for stage in journal.stages]
    module = journal.stages[names.index("partition") - 1].module()
    with module.context, ir.Location.unknown():
        (function,) = functions_by_name(module).values()
        facts = Recomputation(Joint(function))
        banned = facts.banned(Bans())
        saved, again = {}, {}
        for n, op in enumerate(facts.joint.operations):
            key = op.name, str(op.location)
            saved[key] = banned.get(n, "less than what it is computed from")
            again[key] = "not in the budget" if n in banned else "cheap"
            if any(result in facts.joint.checkpoints.again for result in op.results):
                again[key] = "checkpointed"
    return _Reasons(saved, again)


def _recomputed(halves: Mapping[str, Any], reasons: _Reasons) -> tuple[Recomputed, ...]:
    """Ops in the backward that stand there for themselves, not as part of some op's derivative."""
    if "backward" not in halves:
        return ()
    counts, sizes = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    for op in _computing(halves["backward"]):
        if not made_by_autodiff(op.location) and not is_free(op):
            key = op.name, source_line(op.location), reasons.again.get((op.name, str(op.location)), "")
            counts[key] += 1
            tensors = [_by_type(result.type) for result in op.results]
            sizes[key] += sum(t.nbytes for t in tensors if t is not None)
    return tuple(
        Recomputed(name, at, counts[key], sizes[key], why) for key in counts for name, at, why in [key]
    )


def _saved(
    journal: Journal, halves: Mapping[str, Any], results: Sequence[Any], reasons: _Reasons
) -> tuple[SavedValue, ...]:
    if "backward" not in halves:
        return ()
    forward, backward = (read_signature(halves[name]) for name in ("forward", "backward"))
    returned = fn.terminator(fn.entry_block(halves["forward"])).operands
    found = []
    for argument in backward.arguments:
        if argument.role != "saved" or argument.dtype is None:
            continue
        dtype = str(argument.dtype).removeprefix("torch.")
        if argument.of_argument is not None:
            of = forward.arguments[argument.of_argument]
            given = _example(journal, argument.of_argument)
            shape, size = _measured(given)
            found.append(SavedValue("argument", plain_source(of.name) or of.role, shape, dtype, size, ""))
        else:
            assert argument.of_result is not None
            fact = forward.results[argument.of_result]
            value = returned[argument.of_result]
            where = "" if isinstance(value, ir.BlockArgument) else source_line(value.owner.location)
            name = "" if isinstance(value, ir.BlockArgument) else value.owner.name
            shape, size = _measured(results[argument.of_result] if results else None)
            kind: Literal["computed", "output"] = "computed" if fact.saved else "output"
            key = (name, "" if isinstance(value, ir.BlockArgument) else str(value.owner.location))
            found.append(SavedValue(kind, name, shape, dtype, size, where, reasons.saved.get(key, "")))
    return tuple(found)


def _measured(value: Any) -> tuple[tuple[int, ...] | None, int | None]:
    if not isinstance(value, torch.Tensor):
        return None, None
    shape = tuple(int(s) for s in value.shape)
    return shape, prod(shape) * value.dtype.itemsize


def _example(journal: Journal, index: int) -> Any:
    return journal.example_inputs[index] if index < len(journal.example_inputs) else None


def _results_without_values(journal: Journal, module: ir.Module | None) -> list[Any]:
    """The results of `@forward` as tensors without values, of the sizes of this call; None where these are unknown."""
    if module is None or "backward" not in _halves(module):
        return []
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    signature = read_signature(_halves(module)["forward"])
    arguments = []
    for index, argument in enumerate(signature.arguments):
        value = _example(journal, index)
        if argument.role == "seed":
            value = torch.zeros(2, dtype=torch.int32)
        if isinstance(value, torch.SymInt):
            value = value.node.hint
        arguments.append(mode.from_tensor(value) if isinstance(value, torch.Tensor) else value)
    try:
        with mode, torch.no_grad():
            return interpreter.run(module, "forward", arguments)
    except (
        RuntimeError,
        NotImplementedError,
        TypeError,
    ):  # an op looks at values: what the types say is left
        returned = fn.terminator(fn.entry_block(_halves(module)["forward"])).operands
        return [_by_type(value.type) for value in returned]


def _by_type(type_: ir.Type) -> torch.Tensor | None:
    if not is_tensor(type_) or DYNAMIC in shape_of(type_):
        return None
    return torch.empty(shape_of(type_), dtype=torch_dtype(type_), device="meta")


def _graph_source(gm: fx.GraphModule) -> str:
    """`file:line` of the first op."""
    places = (user_location(node) for node in gm.graph.nodes if node.op not in ("placeholder", "output"))
    place = next(filter(None, places), None)
    return f"{place[0]}:{place[1]}" if place else ""


def _graph_break(gm: fx.GraphModule) -> GraphBreak | None:
    reason = getattr(gm, "compile_subgraph_reason", None)
    if reason is None or not reason.graph_break:
        return None
    frames = [f for f in reason.user_stack if not is_torch_file(f.filename)]
    source = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    lines = [line.strip() for line in _first_paragraph(reason.reason).splitlines()]
    kept = [line.removeprefix("Explanation: ") for line in lines if not line.startswith("Hint: ")]
    return GraphBreak(": ".join(kept), source)


def _first_paragraph(text: str) -> str:
    return text.strip().partition("\n\n")[0]
