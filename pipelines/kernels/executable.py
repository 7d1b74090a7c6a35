# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A kernel as a `flow.executable` and a call of it: buffers, sizes, work groups.

In memory all tensors are flat. Sizes that are not static are operands of type index, after the inputs; they are the
workload, too. Nothing in an executable says where it is used, so that equal kernels are equal to the letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_tensor
from flambeau.pipelines.kernels.emitter import Emitter, IndexLike, dispatch_type, flat_type, storage
from flambeau.pipelines.kernels.index_maps import NotCovered
from flambeau.pipelines.kernels.loops import KernelLoops, polynomial_symbols
from flambeau.pipelines.kernels.plan import Plan
from flambeau.pipelines.kernels.polynomial import Polynomial, product
from flambeau.pipelines.kernels.schedule import Schedule
from flambeau.pipelines.kernels.target import CpuTarget

MOST_BUFFERS = 32  # IREE 3.13 compiles kernels with more, which then cannot be loaded

_KEEP_DENORMALS = 0x1F80  # MXCSR as PyTorch has it: nothing is flushed to zero, all exceptions are masked


@dataclass(frozen=True)
class Buffer:
    """A tensor operand or result of a kernel: its number, how many elements it has, their type in memory."""

    number: int
    count: Polynomial
    element: ir.Type

    @property
    def tensor(self) -> ir.Type:
        return flat_type(self.count.static, self.element)


@dataclass(frozen=True)
class Interface:
    """What an executable takes and returns, in order: inputs, symbols (numbers of unknown sizes), outputs."""

    inputs: tuple[Buffer, ...]
    symbols: tuple[int, ...]
    outputs: tuple[Buffer, ...]


def operand_buffers(plan: Plan, block: ir.Block) -> dict[int, Buffer]:
    """The tensors among a kernel's operands, by number."""
    arguments = enumerate(block.arguments)
    return {n: _buffer(plan, n, a) for n, a in arguments if is_tensor(a.type)}


def result_buffers(plan: Plan, block: ir.Block) -> list[Buffer]:
    """The results of a kernel."""
    results = block.operations[len(block.operations) - 1].operands
    return [_buffer(plan, n, value) for n, value in enumerate(results)]


def partial_buffers(first: Plan, number: int) -> list[Buffer]:
    """What the first of two steps returns, as operands from `number` on."""
    count = product([loop.size for loop in first.parallel])
    return [Buffer(number + store.result, count, storage(store.node.type)) for store in first.stores]


def interface(plan: Plan, operands: Mapping[int, Buffer], results: Sequence[Buffer]) -> Interface:
    """The interface of an executable: the operands that it loads, and all results."""
    inputs = tuple(operands[n] for n in sorted({load.operand for load in plan.loads}))
    outputs = tuple(results)
    if len(inputs) + len(outputs) > MOST_BUFFERS:
        raise NotCovered(f"it has more than {MOST_BUFFERS} buffers")
    used = set(polynomial_symbols(plan)).union(*(b.count.symbols for b in (*inputs, *outputs)))
    return Interface(inputs, tuple(sorted(used)), outputs)


def _buffer(plan: Plan, number: int, tensor: ir.Value) -> Buffer:
    return Buffer(number, product(plan.symbols.shape(tensor)), storage(tensor.type.element_type))


def make_executable(
    name: str, plan: Plan, schedule: Schedule, target: CpuTarget, interface: Interface
) -> ir.Operation:
    """The `flow.executable` of this name at the current insertion point; it is erased again if it is not covered."""
    op = _create("flow.executable", regions=1, sym_name=_str(name), sym_visibility=_str("private"))
    block = op.regions[0].blocks.append()
    try:
        with ir.InsertionPoint(block):
            _make_export(name, plan, schedule, interface)
            inner = _create("builtin.module", regions=1)
            with ir.InsertionPoint(inner.regions[0].blocks.append()):
                _make_function(name, plan, schedule, target, interface)
            _create("flow.executable_end")
    except BaseException:
        op.erase()
        raise
    return op


def _make_export(name: str, plan: Plan, schedule: Schedule, interface: Interface) -> None:
    export = _create(
        "flow.executable.export",
        regions=1,
        sym_name=_str(name),
        function_ref=ir.FlatSymbolRefAttr.get(name),
        sym_visibility=_str("public"),
    )
    index = ir.IndexType.get()
    block = export.regions[0].blocks.append(*[index] * len(interface.symbols))
    with ir.InsertionPoint(block):
        e = Emitter(dict(zip(interface.symbols, block.arguments, strict=True)))
        count = e.index(_group_count(e, plan, schedule))
        e.op("flow.return", [count, e.index(1), e.index(1)])


def _group_count(e: Emitter, plan: Plan, schedule: Schedule) -> IndexLike:
    """How many work groups a kernel has."""
    parallel = plan.parallel
    columns: IndexLike = 1
    if schedule.form == "columns" and parallel:
        *parallel, line = parallel
        if schedule.columns:
            columns = e.ceildiv(e.polynomial(line.size), schedule.columns)
    rows = e.ceildiv(e.polynomial(product([loop.size for loop in parallel])), schedule.rows)
    return e.mul(rows, columns)


def _make_function(
    name: str, plan: Plan, schedule: Schedule, target: CpuTarget, interface: Interface
) -> None:
    index = ir.IndexType.get()
    types = [dispatch_type("readonly", b.tensor) for b in interface.inputs]
    types += [index] * len(interface.symbols)
    types += [dispatch_type("writeonly", b.tensor) for b in interface.outputs]
    type_ = ir.TypeAttr.get(ir.FunctionType.get(types, []))
    function = _create("func.func", regions=1, sym_name=_str(name), function_type=type_)
    block = function.regions[0].blocks.append(*types)
    arguments = list(block.arguments)
    inputs = arguments[: len(interface.inputs)]
    symbols = arguments[len(inputs) : len(inputs) + len(interface.symbols)]
    outputs = arguments[len(inputs) + len(symbols) :]
    with ir.InsertionPoint(block):
        e = Emitter(dict(zip(interface.symbols, symbols, strict=True)))
        if target.arch == "x86_64":
            _keep_denormals(e)
        opened: list[ir.Value | None] = [None] * (1 + max((b.number for b in interface.inputs), default=-1))
        for buffer, value in zip(interface.inputs, inputs, strict=True):
            opened[buffer.number] = e.open_input(value, buffer.tensor, e.polynomial(buffer.count))
        targets = [
            e.open_output(value, e.polynomial(buffer.count))
            for buffer, value in zip(interface.outputs, outputs, strict=True)
        ]
        group = e.value("flow.dispatch.workgroup.id", [], index, dimension=ir.IntegerAttr.get(index, 0))
        KernelLoops(plan, schedule, e, opened, targets).write(group)
        e.op("func.return")


def _keep_denormals(e: Emitter) -> None:
    """IREE's threads flush denormal numbers to zero; eager does not."""
    i32, i64 = ir.IntegerType.get_signless(32), ir.IntegerType.get_signless(64)
    pointer = ir.Type.parse("!llvm.ptr")
    one = e.value("llvm.mlir.constant", [], i64, value=ir.IntegerAttr.get(i64, 1))
    mode = e.value("llvm.mlir.constant", [], i32, value=ir.IntegerAttr.get(i32, _KEEP_DENORMALS))
    place = e.value("llvm.alloca", [one], pointer, elem_type=ir.TypeAttr.get(i32))
    e.op("llvm.store", [mode, place])
    e.op(
        "llvm.call_intrinsic",
        [place],
        intrin=_str("llvm.x86.sse.ldmxcsr"),
        op_bundle_sizes=ir.DenseI32ArrayAttr.get([]),
        operandSegmentSizes=ir.DenseI32ArrayAttr.get([1, 0]),
    )


def make_call(host: "Host", name: str, interface: Interface) -> list[ir.Value]:
    """Call an executable at the current insertion point; its results are flat tensors."""
    symbols = [host.symbol(number) for number in interface.symbols]
    operands = [host.operand(buffer) for buffer in interface.inputs]
    sizes = [size for buffer in interface.inputs for size in host.dynamic([buffer.count])]
    result_sizes = [size for buffer in interface.outputs for size in host.dynamic([buffer.count])]
    minus_one = ir.IntegerAttr.get(ir.IndexType.get(), -1)
    call = _create(
        "flow.dispatch",
        [*symbols, *operands, *symbols, *sizes, *result_sizes],
        [buffer.tensor for buffer in interface.outputs],
        entry_points=ir.ArrayAttr.get([ir.SymbolRefAttr.get([name, name])]),
        operandSegmentSizes=ir.DenseI32ArrayAttr.get(
            [len(symbols), len(operands) + len(symbols), len(sizes), len(result_sizes)]
        ),
        tied_operands=ir.ArrayAttr.get([minus_one] * len(interface.outputs)),
    )
    return list(call.results)


class Host:
    """Sizes and shapes where a kernel is called: in place of `kernel`, whose body is `block`.

    given: flat operands that are not the kernel's, by number.
    """

    def __init__(self, kernel: ir.Operation, block: ir.Block, plan: Plan) -> None:
        self._kernel, self._plan = kernel, plan
        self._arguments = {argument: i for i, argument in enumerate(block.arguments)}
        self._results = list(block.operations[len(block.operations) - 1].operands)
        self._symbols: dict[int, ir.Value] = {}
        self.given: dict[int, ir.Value] = {}

    def symbol(self, number: int) -> ir.Value:
        """The value of an unknown size."""
        if number not in self._symbols:
            source = self._plan.symbols.source(number)
            if isinstance(source, tuple):
                tensor, dim = source
                size = b.size(self._kernel.operands[self._arguments[tensor]], dim)
                self._symbols[number] = b.as_index(size)
            else:
                self._symbols[number] = self._kernel.operands[self._arguments[source]]
        return self._symbols[number]

    def dynamic(self, sizes: Sequence[Polynomial]) -> list[ir.Value]:
        """The values of those sizes that are not static."""
        unknown = [size for size in sizes if size.static is None]
        for number in sorted({n for size in unknown for n in size.symbols}):
            self.symbol(number)
        e = Emitter(self._symbols) if unknown else None
        return [e.index(e.polynomial(size)) for size in unknown] if e else []

    def operand(self, buffer: Buffer) -> ir.Value:
        """An operand as the executable takes it."""
        if buffer.number in self.given:
            return self.given[buffer.number]
        tensor = self._kernel.operands[buffer.number]
        argument = next(a for a, i in self._arguments.items() if i == buffer.number)
        sizes = self._unknown(argument, tensor.type)
        if tensor.type.element_type != buffer.element:
            type_ = ir.RankedTensorType.get(tensor.type.shape, buffer.element)
            tensor = _reinterpret("flow.tensor.bitcast", tensor, type_, sizes, sizes)
        if tensor.type == buffer.tensor:
            return tensor
        return _reinterpret("flow.tensor.reshape", tensor, buffer.tensor, sizes, self.dynamic([buffer.count]))

    def restore(self, flat: ir.Value, buffer: Buffer) -> ir.Value:
        """A result as the kernel returns it."""
        type_ = self._kernel.results[buffer.number].type
        sizes = self._unknown(self._results[buffer.number], type_)
        stored = ir.RankedTensorType.get(type_.shape, buffer.element)
        if flat.type != stored:
            flat = _reinterpret("flow.tensor.reshape", flat, stored, self.dynamic([buffer.count]), sizes)
        if stored != type_:
            flat = _reinterpret("flow.tensor.bitcast", flat, type_, sizes, sizes)
        return flat

    def _unknown(self, value: ir.Value, type_: ir.Type) -> list[ir.Value]:
        """The sizes that `type_`, the type of `value` outside of the kernel, does not say."""
        shape = self._plan.symbols.shape(value)
        wanted = [size for d, size in enumerate(shape) if type_.is_dynamic_dim(d)]
        return [v for size in wanted for v in self.dynamic([size]) or [b.as_index(size.static)]]


def _reinterpret(
    name: str, tensor: ir.Value, type_: ir.Type, before: Sequence[ir.Value], after: Sequence[ir.Value]
) -> ir.Value:
    segments = ir.DenseI32ArrayAttr.get([1, len(before), len(after)])
    op = _create(name, [tensor, *before, *after], [type_], operandSegmentSizes=segments)
    return op.results[0]


def _str(text: str) -> ir.Attribute:
    return ir.StringAttr.get(text)


def _create(
    name: str,
    operands: Sequence[ir.Value] = (),
    results: Sequence[ir.Type] = (),
    regions: int = 0,
    **attributes: ir.Attribute,
) -> ir.Operation:
    return ir.Operation.create(
        name, operands=list(operands), results=list(results), attributes=attributes, regions=regions
    )
