# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes through random chains of views: references, functionalized and compiled, against PyTorch's in-place write."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from flambeau.dialects import build as b
from flambeau.dialects import create_context
from flambeau.dialects.bindings import func, ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import element_type, shape_of, tensor_type
from flambeau.pipelines.lower_to_torch import LowerToTorch
from flambeau.pipelines.passes.decompose import Decompose
from flambeau.pipelines.passes.functionalize import Functionalize
from flambeau.runtime import interpreter
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec

# One step of a chain: the view in PyTorch, and the op on a value.
Step = tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[ir.Value], ir.Value]]


@pytest.fixture(autouse=True)
def context():
    with create_context() as context, ir.Location.unknown():
        yield context


def dims_of(x: torch.Tensor) -> list[int]:
    return list(range(x.dim()))


def step_transpose(rng: random.Random, x: torch.Tensor) -> Step:
    i, j = rng.choice(dims_of(x)), rng.choice(dims_of(x))
    return lambda t: t.transpose(i, j), lambda v: b.transpose(v, i, j)


def step_permute(rng: random.Random, x: torch.Tensor) -> Step:
    order = rng.sample(dims_of(x), x.dim())
    return lambda t: t.permute(order), lambda v: b.permute(v, order)


def step_slice(rng: random.Random, x: torch.Tensor) -> Step:
    dim = rng.choice(dims_of(x))
    start, end = sorted(rng.sample(range(x.shape[dim] + 1), 2))
    step = rng.choice([1, 1, 2, 3])
    return lambda t: t[(slice(None),) * dim + (slice(start, end, step),)], lambda v: b.slice(
        v, dim, start, end, step
    )


def step_to_the_end(rng: random.Random, x: torch.Tensor) -> Step:
    dim = rng.choice(dims_of(x))
    start = rng.randrange(x.shape[dim])
    return lambda t: t.narrow(dim, start, t.shape[dim] - start), lambda v: b.slice(
        v, dim, start, b.size(v, dim), 1
    )


def step_select(rng: random.Random, x: torch.Tensor) -> Step:
    dim = rng.choice(dims_of(x))
    index = rng.randrange(x.shape[dim])
    return lambda t: t.select(dim, index), lambda v: b.select(v, dim, index)


def step_unsqueeze(rng: random.Random, x: torch.Tensor) -> Step:
    dim = rng.randrange(x.dim() + 1)
    return lambda t: t.unsqueeze(dim), lambda v: b.unsqueeze(v, dim)


def step_there_and_back(rng: random.Random, x: torch.Tensor) -> Step:
    dim = rng.randrange(x.dim() + 1)
    return lambda t: t.unsqueeze(dim).squeeze(dim), lambda v: b.squeeze(b.unsqueeze(v, dim), [dim])


def step_expand(rng: random.Random, x: torch.Tensor) -> Step:
    return lambda t: t.expand(1, *t.shape), lambda v: b.expand(v, [1, *b.sizes(v)])


def step_diagonal(rng: random.Random, x: torch.Tensor) -> Step:
    i, j = rng.sample(dims_of(x), 2)
    offset = rng.choice([0, 0, 1, -1])
    return lambda t: t.diagonal(offset, i, j), lambda v: b.diagonal(v, offset, i, j)


def step_unfold(rng: random.Random, x: torch.Tensor) -> Step:
    dim = rng.choice(dims_of(x))
    size = rng.randrange(1, x.shape[dim] + 1)
    return lambda t: t.unfold(dim, size, size), lambda v: b.unfold(v, dim, size, size)


def step_flatten(rng: random.Random, x: torch.Tensor) -> Step:
    return lambda t: t.view(-1), lambda v: b.view(v, [b.multiply_sizes(b.sizes(v))])


def step_split(rng: random.Random, x: torch.Tensor) -> Step:
    def value(v: ir.Value) -> ir.Value:
        first, *rest = b.sizes(v)
        return b.view(v, [b.divide_size(first, 2), 2, *rest])

    return lambda t: t.view(t.shape[0] // 2, 2, *t.shape[1:]), value


def possible_steps(x: torch.Tensor) -> list[Callable[[random.Random, torch.Tensor], Step]]:
    """What eager allows on a tensor of this shape and these strides."""
    steps: list[Callable[[random.Random, torch.Tensor], Step]] = [
        step_unsqueeze,
        step_there_and_back,
        step_expand,
    ]
    if x.dim() and 0 not in x.shape:
        steps += [
            step_transpose,
            step_permute,
            step_slice,
            step_slice,
            step_to_the_end,
            step_select,
            step_unfold,
        ]
        if x.dim() >= 2:
            steps.append(step_diagonal)
        if x.is_contiguous():
            steps.append(step_flatten)
            if x.shape[0] % 2 == 0:
                steps.append(step_split)
    return steps


def random_chain(rng: random.Random, x: torch.Tensor) -> list[Step]:
    chain = []
    for _ in range(rng.randrange(1, 5)):
        step = rng.choice(possible_steps(x))(rng, x)
        chain.append(step)
        x = step[0](x)
    return chain


def as_reference_views(ref: ir.Value, apply: Callable[[ir.Value], ir.Value]) -> ir.Value:
    """The view ops that `apply` makes of a value, as views of a place."""
    value = b.ref_load(ref)
    chain = []
    result = apply(value)
    while result != value:
        chain.append(result.owner)
        result = result.owner.operands[0]
    for op in reversed(chain):
        assert OPS[op.name].view
        attributes = ir.DictAttr.get({name: op.attributes[name] for name in op.attributes})
        ref = b.ref_view(ref, list(op.operands)[1:], op.name, attributes)
    return ref


def add_function(
    module: ir.Module, name: str, chain: Sequence[Step], tensors: Sequence[torch.Tensor], dynamic: bool
) -> None:
    """@name(base, new): write `new` through the chain of views; return the view's old value and the new base."""
    types = [
        tensor_type([-1] * t.dim() if dynamic else list(t.shape), element_type("float32")) for t in tensors
    ]
    with ir.InsertionPoint(module.body):
        function = func.FuncOp(name, (types, []))
        block = function.add_entry_block()
    with ir.InsertionPoint(block):
        base, new = block.arguments
        place = ref = b.ref_new(base)
        for _, apply in chain:
            ref = as_reference_views(ref, apply)
        old = b.ref_load(ref)
        if shape_of(new) != shape_of(old):
            new = b.view(new, b.sizes(old))  # some sizes are static after all
        b.ref_store(ref, new, False)
        returned = [old, b.ref_load(place)]
        func.ReturnOp(returned)
    function.attributes["function_type"] = ir.TypeAttr.get(
        ir.FunctionType.get(types, [r.type for r in returned])
    )


def sample(seed: int) -> tuple[list[Step], list[torch.Tensor], list[torch.Tensor]]:
    """A chain, the base and the values to write; and what eager makes of them: the view before, the base after."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    base = torch.randn([rng.choice([2, 3, 4, 6]) for _ in range(rng.randrange(1, 4))])
    chain = random_chain(rng, base)
    written = base.clone()
    view = written
    for step, _ in chain:
        view = step(view)
    old, new = view.clone(), torch.randn(view.shape)
    view.copy_(new)
    return chain, [base, new], [old, written]


def equal(found: Sequence[Any], expected: Sequence[torch.Tensor]) -> None:
    for a, e in zip(found, expected, strict=True):
        assert a.shape == e.shape
        assert torch.equal(a, e), f"{a}\nis not\n{e}"


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("seed", range(60))
def test_write_through_views(seed, dynamic):
    chain, tensors, expected = sample(seed)
    module = ir.Module.create()
    add_function(module, "f", chain, tensors, dynamic)
    assert module.operation.verify()
    equal(interpreter.run(module, "f", tensors), expected)
    Functionalize().run(module)
    assert module.operation.verify()
    assert "ref_" not in str(module)
    equal(interpreter.run(module, "f", tensors), expected)


def test_compiled_writes_through_views():
    samples = [(*sample(seed), dynamic) for seed in range(6) for dynamic in (False, True)]
    module = ir.Module.create()
    for index, (chain, tensors, _, dynamic) in enumerate(samples):
        add_function(module, f"f{index}", chain, tensors, dynamic)
    Functionalize().run(module)
    Decompose(before="lowering").run(module)
    LowerToTorch().run(module)
    backend = lookup_backend("cpu")
    executable = Executable(compile_module(str(module), backend), find_device(backend, "local-sync"))
    for index, (_, tensors, expected, _) in enumerate(samples):
        kept = [t.clone() for t in tensors]
        compiled = executable.function(f"f{index}", [ResultSpec(e.dtype) for e in expected])
        equal(compiled(tensors), expected)
        equal(tensors, kept)


def test_several_writes_to_one_tensor_do_not_meet():
    """Each result has its own memory, although IREE performs inserts, scatters and sorts in place."""

    def body(x: ir.Value, i: ir.Value, v: ir.Value) -> list[ir.Value]:
        results = []
        for base in (b.tanh(x), b.zeros_like(x)):
            results += [
                b.index_add(base, 0, i, v),
                b.index_add(base, 0, i, b.neg(v)),
                b.index_copy(base, 0, i, v),
                b.slice_scatter(base, v, 0, 1, 3, 1),
                b.slice_scatter(base, b.neg(v), 0, 0, 4, 2),
                b.select_scatter(base, b.select(v, 0, 0), 0, 1),
                *b.sort(base, 0, False),
                *b.sort(base, 0, True),
                base,
            ]
        return results

    tensors = [torch.randn(6, 3), torch.tensor([1, 4]), torch.randn(2, 3)]
    module = ir.Module.create()
    for name, dynamic in (("static", False), ("dynamic", True)):
        types = [
            tensor_type(
                [-1] * t.dim() if dynamic else list(t.shape),
                element_type(str(t.dtype).removeprefix("torch.")),
            )
            for t in tensors
        ]
        with ir.InsertionPoint(module.body):
            function = func.FuncOp(name, (types, []))
            block = function.add_entry_block()
        with ir.InsertionPoint(block):
            returned = body(*block.arguments)
            func.ReturnOp(returned)
        function.attributes["function_type"] = ir.TypeAttr.get(
            ir.FunctionType.get(types, [r.type for r in returned])
        )
    assert module.operation.verify()
    expected = interpreter.run(module, "static", tensors)
    LowerToTorch().run(module)
    backend = lookup_backend("cpu")
    executable = Executable(compile_module(str(module), backend), find_device(backend, "local-sync"))
    for name in ("static", "dynamic"):
        found = executable.function(name, [ResultSpec(e.dtype) for e in expected])(tensors)
        for position, (a, e) in enumerate(zip(found, expected, strict=True)):
            torch.testing.assert_close(a, e, msg=lambda m, n=name, p=position: f"{n}, result {p}: {m}")


# --- Views of partly dynamic shapes ----------------------------------------------------------------------------------


def run_both(
    types: Sequence[str], body: Callable[..., ir.Value], tensors: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """The result of `body` by the interpreter, checked against compiled code."""
    module = ir.Module.create()
    parsed = [ir.Type.parse(t) for t in types]
    with ir.InsertionPoint(module.body):
        function = func.FuncOp("f", (parsed, []))
        block = function.add_entry_block()
    with ir.InsertionPoint(block):
        out = body(*block.arguments)
        func.ReturnOp([out])
    function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(parsed, [out.type]))
    assert module.operation.verify()
    expected = interpreter.run(module, "f", tensors)
    LowerToTorch().run(module)
    backend = lookup_backend("cpu")
    executable = Executable(compile_module(str(module), backend), find_device(backend, "local-sync"))
    equal(executable.function("f", [ResultSpec(e.dtype) for e in expected])(tensors), expected)
    return expected


def test_expand_of_dynamic_and_unit_dims():
    x, like = torch.randn(4, 1, 3), torch.randn(2, 4, 5, 3)

    def body(x: ir.Value, like: ir.Value) -> ir.Value:
        return b.expand(x, b.sizes(like))

    (found,) = run_both(["tensor<?x1x3xf32>", "tensor<?x?x?x3xf32>"], body, [x, like])
    equal([found], [x.expand(like.shape)])


def test_expand_refuses_a_dynamic_dim_that_would_repeat():
    module = ir.Module.parse("""
      func.func @f(%x: tensor<?xf32>, %n: index) -> tensor<?xf32> {
        %0 = "flambeau.expand"(%x, %n) {operandSegmentSizes = array<i32: 1, 1>, shape = array<i64: -1>}
          : (tensor<?xf32>, index) -> tensor<?xf32>
        return %0 : tensor<?xf32>
      }""")
    with pytest.raises(ValueError, match="dim 0, a `\\?`, is 1, which cannot become 3"):
        interpreter.run(module, "f", [torch.randn(1), 3])


def test_view_splits_and_joins_several_dynamic_dims():
    x = torch.randn(2, 3, 4, 6)

    def body(x: ir.Value) -> ir.Value:
        n, t, h, d = b.sizes(x)
        joined = b.view(x, [b.multiply_sizes([n, t]), b.multiply_sizes([h, d])])
        return b.view(joined, [n, t, d, h])

    (found,) = run_both(["tensor<?x?x?x6xf32>"], body, [x])
    equal([found], [x.reshape(2, 3, 6, 4)])
