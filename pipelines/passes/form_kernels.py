# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass form-kernels: ops that are computed together -> kernels, private functions, and calls of these.

The rules are in pipelines/kernels/grouping.py; here ops become the records that these rules see, and groups become
functions. Views and constants are copied into each kernel that reads them.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice, host
from flambeau.dialects.calls.kernel import KERNEL, Kind
from flambeau.dialects.equal_sizes import SizeOrigins
from flambeau.dialects.facts import ArgumentFacts, Extent, Role
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of
from flambeau.pipelines.analysis.sizes import trace_sizes
from flambeau.pipelines.kernels import grouping
from flambeau.pipelines.kernels.grouping import LINEAR, Group, Place, Read, Step
from flambeau.pipelines.registry import register_pass

_REDUCTIONS = frozenset(f"flambeau.{name}" for name in ("sum", "mean", "amax", "amin", "prod"))
_CONTRACTIONS = frozenset(
    f"flambeau.{name}"
    for name in (
        *("mm", "bmm", "mv", "convolution"),
        *("convolution_input_grad", "convolution_weight_grad"),
    )
)
# What takes longer to compute than to read.
_COSTLY = frozenset(
    f"flambeau.{name}"
    for name in (
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "pow_scalar", "erf", "tanh"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "cosh", "logit", "fmod", "remainder"),
        *("random_bits", "gather", "index"),
    )
)
# Each element of the result is one of the operands', or made of its position: their loops are those of pointwise ops.
_GATHERS = frozenset(
    f"flambeau.{name}"
    for name in (
        *("iota", "random_bits", "gather", "index", "flip", "cat", "constant_pad_nd"),
        *("slice_scatter", "select_scatter", "diagonal_scatter"),
    )
)


@register_pass
@dataclass(frozen=True)
class FormKernels:
    """Move the ops of each function into kernels: private functions marked `flambeau.kernel`, called where they were.

    A compiler may split a kernel into several loop nests, but joins none with another kernel. What runs on the host,
    and the branches of choices, stay as they are.
    """

    name = "form-kernels"

    def run(self, module: ir.Module) -> None:
        left = choice.all_branches(module) | host.all_bodies(module)
        for function in fn.functions(module):
            if function.name.value not in left and not host.is_host_function(function):
                _Forming(module, function).run()


class _Forming:
    """One function on its way."""

    def __init__(self, module: ir.Module, function: Any):
        self._module = module
        self._function = function
        self._block = fn.entry_block(function)
        self._ops = fn.operations(self._block)[:-1]
        self._position = {op: n for n, op in enumerate(self._ops)}
        self._computing = [op for op in self._ops if _computes(op)]
        self._number = {op: n for n, op in enumerate(self._computing)}
        self._origins = trace_sizes(function)
        self._names = _SizeNames(self._origins)
        self._sources: dict[ir.Value, int] = {}

    def run(self) -> None:
        """Move the ops of the function into kernels.

        The body is written anew behind the old one: an op that is changed is another one to a set or dictionary.
        """
        if not self._computing:
            return
        kernels = self._read_kernels(grouping.form_groups(self._steps()))
        end = fn.terminator(self._block)
        outside = self._outside_kernels(kernel.ops for kernel in kernels)
        values: dict[ir.Value, ir.Value] = {a: a for a in self._block.arguments}
        for index in self._order(kernels, outside):
            with ir.InsertionPoint(end):
                if index < len(kernels):
                    self._outline(kernels[index], values)
                else:
                    fn.copy_op(outside[index - len(kernels)], values)
        fn.set_return(self._function, [values[v] for v in end.operands])
        for op in reversed(self._ops):
            op.erase()

    # --- Ops as steps ---

    def _steps(self) -> list[Step]:
        reads = [self._reads(op) for op in self._computing]
        users: dict[int, set[int]] = defaultdict(set)
        for number, found in enumerate(reads):
            for read in found:
                users[read.producer].add(number)
        escaping = self._escaping()
        return [
            self._step(op, tuple(reads[n]), frozenset(users[n]), n in escaping)
            for n, op in enumerate(self._computing)
        ]

    def _step(self, op: ir.Operation, reads: tuple[Read, ...], users: frozenset[int], escapes: bool) -> Step:
        if op.name in _REDUCTIONS:
            x, result = op.operands[0], op.results[0]
            dims = _reduced_dims(op)
            kept = len(dims) > 0 and len(shape_of(result)) == len(shape_of(x))
            return Step(grouping.Role.REDUCTION, self._shape(x), reads, users, escapes, dims, kept)
        role = grouping.Role.OTHER
        if _is_pointwise(op):
            role = grouping.Role.POINTWISE
        elif op.name in _CONTRACTIONS:
            role = grouping.Role.CONTRACTION
        sources = frozenset(self._source(v) for v in op.operands if self._is_source(v, op.results[0]))
        costly = op.name in _COSTLY
        return Step(role, self._shape(op.results[0]), reads, users, escapes, sources=sources, costly=costly)

    def _is_source(self, value: ir.Value, like: ir.Value) -> bool:
        """Whether no step computes an operand, and it has as many elements as the result `like`."""
        if not is_tensor(value.type) or self._trace(value)[0] is not None:
            return False
        base = _viewed(value)
        made_here = not isinstance(base.owner, ir.Block) and _is_copied(base.owner.operation)
        return not made_here and self._shape(base) == self._shape(like)

    def _source(self, value: ir.Value) -> int:
        return self._sources.setdefault(_viewed(value), len(self._sources))

    def _shape(self, tensor: ir.Value) -> tuple[Hashable, ...]:
        return tuple(self._origins.dim(tensor, d) for d in range(len(shape_of(tensor))))

    def _reads(self, op: ir.Operation) -> list[Read]:
        """The operands that steps compute. Of a step with several results nobody knows which lies where."""
        at_a_place = OPS[op.name].elementwise or op.name in _REDUCTIONS
        found = []
        for operand in op.operands:
            base, place = self._trace(operand)
            if base is not None:
                known = at_a_place and len(base.owner.results) == 1
                found.append(Read(self._number[base.owner.operation], place if known else None))
        sizes = {self._number[base.owner.operation] for base in self._sized(op)}
        return [*found, *(Read(n, None, size_only=True) for n in sorted(sizes))]

    def _sized(self, op: ir.Operation) -> Iterator[ir.Value]:
        """The values of steps whose sizes an op reads, itself or through what is copied to it."""
        seen: set[ir.Operation] = set()
        worklist = [op]
        while worklist:
            for value in worklist.pop().operands:
                owner = None if isinstance(value.owner, ir.Block) else value.owner.operation
                if owner is None or owner in seen:
                    continue
                seen.add(owner)
                if owner.name == "flambeau.dim":
                    base, _ = self._trace(owner.operands[0])
                    if base is not None:
                        yield base
                elif _is_copied(owner) or _is_size(owner):
                    worklist.append(owner)

    def _trace(self, value: ir.Value) -> tuple[ir.Value | None, Place]:
        """The value of a step that a value is a view of, and where its dims are; None if it comes from elsewhere."""
        place: Place = tuple(range(len(shape_of(value)))) if is_tensor(value.type) else None
        while not isinstance(value.owner, ir.Block):
            op = value.owner.operation
            if op in self._number:
                return value, place
            if not _is_view(op):
                return None, None
            place = self._through_view(op, place)
            value = op.operands[0]
        return None, None

    def _through_view(self, op: ir.Operation, place: Place) -> Place:
        """Where the dims that lie at `place` in a view's result lie in what it views."""
        along = self._along(op)
        if along is None or place is None:
            return None
        if along is LINEAR:
            whole = place is LINEAR or place == tuple(range(len(shape_of(op.results[0]))))
            return LINEAR if whole else None
        assert isinstance(along, tuple)
        if isinstance(place, tuple):
            return tuple(None if d is None else along[d] for d in place)
        beside = [d for d in along if d is not None]  # only dims of size 1 may be missing
        sizes = self._shape(op.results[0])
        only_ones = all(s == 1 for d, s in zip(along, sizes, strict=True) if d is None)
        return LINEAR if only_ones and beside == sorted(beside) else None

    def _along(self, op: ir.Operation) -> Place:
        """For each dim of a view's result, the dim of what it views."""
        have, want = self._shape(op.operands[0]), self._shape(op.results[0])
        match op.name:
            case "autograd.detach":
                return tuple(range(len(have)))
            case "flambeau.unsqueeze":
                dim = op.opview.dim
                return tuple(None if d == dim else d - (d > dim) for d in range(len(want)))
            case "flambeau.squeeze":
                return tuple(d for d in range(len(have)) if d not in op.opview.dims)
            case "flambeau.expand":
                added = len(want) - len(have)
                return tuple(
                    d - added if d >= added and have[d - added] == size else None
                    for d, size in enumerate(want)
                )
            case "flambeau.view":
                dims = [d for d, size in enumerate(have) if size != 1]
                if [have[d] for d in dims] != [size for size in want if size != 1]:
                    return LINEAR
                left = iter(dims)
                return tuple(None if size == 1 else next(left) for size in want)
            case _:
                return None

    def _escaping(self) -> set[int]:
        """The steps whose results are returned, or read by what is neither in a kernel nor copied into one."""
        readers = [
            op for op in self._ops if op not in self._number and not _is_copied(op) and not _is_size(op)
        ]
        bases = (
            self._trace(operand)[0]
            for op in [*readers, fn.terminator(self._block)]
            for operand in op.operands
        )
        return {self._number[base.owner.operation] for base in bases if base is not None}

    # --- Order ---

    def _outside_kernels(self, kernels: Iterable[list[ir.Operation]]) -> list[ir.Operation]:
        """The ops that stay in the function, in order: what no kernel computes, and the sizes, views it reads."""
        stay = {op for op in self._ops if op not in self._number and not _is_copied(op) and not _is_size(op)}
        worklist = [v for op in [*stay, fn.terminator(self._block)] for v in op.operands]
        worklist += [v for members in kernels for v in self._taken(members)[1]]
        while worklist:
            value = worklist.pop()
            owner = None if isinstance(value.owner, ir.Block) else value.owner.operation
            if owner is not None and owner not in stay and owner not in self._number:
                stay.add(owner)
                worklist += owner.operands
        return sorted(stay, key=self._position.__getitem__)

    def _order(self, kernels: Sequence["_Kernel"], outside: Sequence[ir.Operation]) -> list[int]:
        """Kernels and ops outside, by their index in both lists, each after those that it reads.

        Where there is a choice, in the order of the program.
        """
        reads = [*(self._taken(kernel.ops)[1] for kernel in kernels), *(list(op.operands) for op in outside)]
        made = [*(kernel.outputs for kernel in kernels), *(list(op.results) for op in outside)]
        maker = {value: index for index, values in enumerate(made) for value in values}
        graph: networkx.DiGraph[int] = networkx.DiGraph()
        graph.add_nodes_from(range(len(reads)))
        for index, values in enumerate(reads):
            graph.add_edges_from((maker[v], index) for v in values if not isinstance(v.owner, ir.Block))
        first = [min(map(self._position.__getitem__, kernel.ops)) for kernel in kernels]
        first += map(self._position.__getitem__, outside)
        return list(networkx.lexicographical_topological_sort(graph, key=first.__getitem__))

    def _taken(self, members: Sequence[ir.Operation]) -> tuple[list[ir.Operation], list[ir.Value]]:
        """The ops to be copied into a kernel of `members`, in order, and the values that it takes."""
        inside = set(members)
        copied: set[ir.Operation] = set()
        taken: dict[ir.Value, None] = {}
        worklist = list(members)
        while worklist:
            for value in worklist.pop().operands:
                owner = None if isinstance(value.owner, ir.Block) else value.owner.operation
                if owner is not None and (_is_copied(owner) or self._is_size_of(owner, inside)):
                    if owner not in copied:
                        copied.add(owner)
                        worklist.append(owner)
                elif owner not in inside:
                    taken[value] = None
        return sorted(copied, key=self._position.__getitem__), list(taken)

    def _is_size_of(self, op: ir.Operation, inside: set[ir.Operation]) -> bool:
        """Whether an op computes a size from that of a value of `inside`: it cannot be computed before."""
        if op.name == "flambeau.dim":
            base, _ = self._trace(op.operands[0])
            return base is not None and base.owner.operation in inside
        owners = (v.owner.operation for v in op.operands if not isinstance(v.owner, ir.Block))
        return _is_size(op) and any(self._is_size_of(owner, inside) for owner in owners)

    # --- Kernels as functions ---

    def _read_kernels(self, groups: Sequence[Group]) -> list["_Kernel"]:
        """The groups of which something is read, each with the ops that it needs for that."""
        kernels: list[_Kernel] = []
        inside: dict[ir.Operation, list[set[ir.Operation]]] = defaultdict(list)
        for group in reversed(groups):
            own = {self._computing[n] for n in group.steps}
            outputs = [
                result
                for n in group.steps
                for result in self._computing[n].results
                if self._is_read_outside(result, self._computing[n], inside)
            ]
            if not outputs:
                continue
            needed = self._needed(outputs, own | {self._computing[n] for n in group.copies})
            for op in needed:
                inside[op].append(needed)
            ops = sorted(needed, key=self._position.__getitem__)
            kernels.append(_Kernel(group.kind, ops, outputs))
        return kernels[::-1]

    def _is_read_outside(
        self,
        value: ir.Value,
        producer: ir.Operation,
        inside: Mapping[ir.Operation, list[set[ir.Operation]]],
    ) -> bool:
        """Whether something reads a value, or a view of it, and does not compute it itself.

        `inside`: for each op the kernels that it is in, of those that come after the producer's.
        """
        for use in value.uses:
            reader = use.owner.operation
            if _is_view(reader) or _is_size(reader):
                if any(self._is_read_outside(r, producer, inside) for r in reader.results):
                    return True
            elif reader not in self._number or any(
                producer not in kernel for kernel in inside.get(reader, ())
            ):
                return True
        return False

    def _needed(self, outputs: Sequence[ir.Value], members: set[ir.Operation]) -> set[ir.Operation]:
        """Those of some ops that compute `outputs`."""
        seen: set[ir.Operation] = set()
        worklist = [v.owner.operation for v in outputs]
        while worklist:
            op = worklist.pop()
            if op not in seen and (op in members or _is_copied(op) or _is_size(op)):
                seen.add(op)
                worklist += [v.owner.operation for v in op.operands if not isinstance(v.owner, ir.Block)]
        return seen & members

    def _outline(self, made: "_Kernel", current: dict[ir.Value, ir.Value]) -> None:
        """Copy the ops of a kernel into a function, and call it here; `current` are the values of the new body."""
        kind, members, outputs = made.kind, made.ops, made.outputs
        copied, inputs = self._taken(members)
        name = fn.fresh_name(self._module.body, f"{self._function.name.value}_{kind}")
        with ir.InsertionPoint(self._function.operation), self._function.operation.location:
            kernel = fn.create_function(
                name, [v.type for v in inputs], [v.location for v in inputs], visibility="private"
            )
        kernel.operation.attributes[KERNEL] = ir.StringAttr.get(kind)
        values: dict[ir.Value, ir.Value] = dict(zip(inputs, fn.entry_block(kernel).arguments, strict=True))
        with ir.InsertionPoint(fn.entry_block(kernel)), ir.Location.unknown():
            for op in sorted([*copied, *members], key=self._position.__getitem__):
                fn.copy_op(op, values)
            ir.Operation.create("func.return", operands=[values[v] for v in outputs])
        fn.set_signature(kernel, [self._names.facts(v) for v in inputs])
        with members[-1].location:
            call = fn.call(name, [v.type for v in outputs], [current[v] for v in inputs])
        current.update(zip(outputs, call.results, strict=True))


@dataclass(frozen=True)
class _Kernel:
    """The ops of a kernel, in order, and those of their results that are read outside."""

    kind: Kind
    ops: list[ir.Operation]
    outputs: list[ir.Value]


class _SizeNames:
    """Names of dynamic sizes: equal ones have one name."""

    def __init__(self, origins: SizeOrigins):
        self._origins = origins
        self._names: dict[Hashable, str] = {}

    def facts(self, value: ir.Value) -> ArgumentFacts:
        """What a kernel knows of the sizes of an argument."""
        if isinstance(value.type, ir.IndexType):
            return ArgumentFacts(role=Role.SYMBOL, dims=(self._extent(self._origins.size(value)),))
        if not is_tensor(value.type) or DYNAMIC not in shape_of(value):
            return ArgumentFacts()
        dims = range(len(shape_of(value)))
        return ArgumentFacts(dims=tuple(self._extent(self._origins.dim(value, d)) for d in dims))

    def _extent(self, origin: Hashable) -> Extent:
        if isinstance(origin, int | str):
            return origin
        return self._names.setdefault(origin, f"d{len(self._names)}")


def _computes(op: ir.Operation) -> bool:
    return op.name in OPS and not _is_copied(op) and op.name not in _NOT_IN_KERNELS


_NOT_IN_KERNELS = frozenset({"flambeau.constant", "flambeau.dim", "flambeau.size_to_tensor"})


def _is_view(op: ir.Operation) -> bool:
    return op.name == "autograd.detach" or (op.name in OPS and OPS[op.name].view)


def _is_copied(op: ir.Operation) -> bool:
    """Whether an op costs nothing where it is read: a view, a number, a tensor of one number."""
    if op.name == "flambeau.constant":
        return bool(op.attributes["value"].is_splat)
    return _is_view(op) or op.name in ("flambeau.size_to_tensor", "arith.constant")


def _is_size(op: ir.Operation) -> bool:
    """Whether an op computes a size."""
    return len(op.results) == 1 and isinstance(op.results[0].type, ir.IndexType)


def _is_pointwise(op: ir.Operation) -> bool:
    return OPS[op.name].elementwise or op.name in _GATHERS


def _reduced_dims(op: ir.Operation) -> frozenset[int]:
    """The dims that a reduction reduces over; a tensor without dims has none, whatever the op says."""
    rank = len(shape_of(op.operands[0]))
    given = op.opview.dim if op.name == "flambeau.prod" else op.opview.dims
    dims = [] if given is None else [given] if isinstance(given, int) else list(given)
    return frozenset(d % rank for d in dims if rank) or frozenset(range(rank))


def _viewed(value: ir.Value) -> ir.Value:
    """What a value is a view of, itself if it is none."""
    while not isinstance(value.owner, ir.Block) and _is_view(value.owner.operation):
        value = value.owner.operation.operands[0]
    return value
