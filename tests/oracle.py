# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The oracle: a compiled callable must do to its arguments, its results and their gradients what eager does.

`assert_like_eager` compares everything a caller can see of a call; `assert_gradients` judges float32 gradients
against float64.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.utils import _pytree as pytree

import flambeau

Make = Callable[[], tuple[Sequence[torch.Tensor], Sequence[Any]]]
"""Builds one call: the leaves whose gradients count, and the call's arguments, aliased as the test wants them."""

KINDS = ("output", "input", "gradient")


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Values that differ from element to element, of both signs, none of them 0."""
    count = torch.Size(shape).numel()
    return (torch.sin(torch.arange(count, dtype=torch.float64) * 1.7 + 0.3) * 2).reshape(shape).to(dtype)


def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Such values that require a gradient."""
    return numbers(*shape, dtype=dtype).requires_grad_()


def plain(*tensors: Callable[[], torch.Tensor]) -> Make:
    """Leaves that are also the arguments."""

    def make() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
        made = [t() for t in tensors]
        return made, made

    return make


def of_leaf(build: Callable[[torch.Tensor], Sequence[Any]], *shape: int) -> Make:
    """One leaf, and arguments computed from it: views, non-leaves."""

    def make() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
        a = leaf(*shape)
        return [a], build(a)

    return make


AFTERWARDS = ("nothing", "write", "write seen by autograd")
"""What the caller does with the outputs: nothing, or an in-place op on each of them, without or with autograd."""


def assert_like_eager(
    function: Callable[..., Any],
    make: Make,
    *,
    backend: str = "partitioned",
    calls: int = 1,
    ulps: int = 16,
    afterwards: Sequence[str] = AFTERWARDS,
    fullgraph: bool = True,
    dynamic: bool | None = None,
    fallback: str = "error",
    compiled: Callable[..., Any] | None = None,
) -> None:
    """Run `function` and its compiled form on arguments made anew by `make`, and compare what can be seen.

    Compared: outputs (value within `ulps` of the largest element, dtype, strides, requires_grad, is_leaf, whose
    memory and whose view they are, identity with arguments), all tensors among arguments and leaves after `calls`
    calls, and gradients of the leaves; for each way in `afterwards` of going on with the outputs.
    """
    if compiled is None:
        torch._dynamo.reset()
        compiled = flambeau.compile(
            function, backend=backend, fullgraph=fullgraph, dynamic=dynamic, options={"fallback": fallback}
        )
    for way in afterwards:
        torch.manual_seed(0)
        expected = observe(function, make, way, calls)
        torch.manual_seed(0)
        found = observe(compiled, make, way, calls)
        if expected.refusal is not None:
            continue  # eager forbids this; where less is saved for the backward, it may be allowed
        assert found.refusal is None, f"{way}: eager allows it, but: {found.refusal}"
        assert found.structure == expected.structure, f"{way}: containers or constants differ"
        for kind in KINDS:
            facts, wanted = getattr(found, f"{kind}s"), getattr(expected, f"{kind}s")
            assert len(facts) == len(wanted)
            for index, (fact, want) in enumerate(zip(facts, wanted, strict=True)):
                where = f"{kind} {index} (outputs afterwards: {way})"
                compare(fact, want, where, partial(close, ulps=ulps))


@dataclass
class TensorFacts:
    """What can be seen of one tensor."""

    value: torch.Tensor
    requires_grad: bool
    is_leaf: bool
    strides: tuple[int, ...]
    writes: int = 0  # version counter minus that before the call
    same_as: str = ""  # the argument or earlier output that it is
    base: str = ""  # the argument or output that autograd has it a view of
    memory: tuple[
        str, ...
    ] = ()  # the arguments and earlier outputs whose memory it shares, with the distance in bytes


@dataclass
class Observation:
    """One run."""

    outputs: list[TensorFacts] = field(default_factory=list)
    inputs: list[TensorFacts] = field(default_factory=list)
    gradients: list[TensorFacts | None] = field(default_factory=list)
    structure: Any = None
    refusal: Exception | None = None  # of what was done afterwards, not of the call


def tensors_in(tree: Any) -> list[torch.Tensor]:
    """The distinct tensors in nested containers, in order."""
    return list({id(t): t for t in pytree.tree_leaves(tree) if isinstance(t, torch.Tensor)}.values())


def observe(function: Callable[..., Any], make: Make, way: str = "nothing", calls: int = 1) -> Observation:
    """Call `function` on what `make` builds, go on with the outputs that `way`, and note all that can be seen."""
    leaves, arguments = make()
    inputs = tensors_in([list(arguments), list(leaves)])
    versions = [_version(t) for t in inputs]
    wanted = [t for t in leaves if t.requires_grad]
    for _ in range(calls):
        returned = function(*arguments)
    flat, spec = pytree.tree_flatten(returned)
    outputs = tensors_in(flat)
    seen = Observation(structure=(spec, [None if isinstance(v, torch.Tensor) else v for v in flat]))
    try:
        if way != "nothing":
            with torch.set_grad_enabled(way == "write seen by autograd"):
                for number, output in enumerate(outputs):
                    _write(output, number)
        roots = [t for t in tensors_in([outputs, inputs]) if t.requires_grad and t.grad_fn is not None]
        if roots and wanted:
            gradients = torch.autograd.grad(
                roots, wanted, [weights_like(r) for r in roots], allow_unused=True
            )
            seen.gradients = [None if g is None else _facts(g, {}) for g in gradients]
    except (RuntimeError, ValueError) as error:
        seen.refusal = error
        return seen
    names = {f"input {i}": t for i, t in enumerate(inputs)}
    seen.inputs = [_facts(t, names, v) for t, v in zip(inputs, versions, strict=True)]
    for number, output in enumerate(v for v in flat if isinstance(v, torch.Tensor)):
        seen.outputs.append(_facts(output, names | {f"output {i}": o for i, o in enumerate(outputs)}))
        names.setdefault(f"output {number}", output)
    return seen


def _write(output: torch.Tensor, number: int) -> None:
    """An in-place op that all dtypes have."""
    if output.dtype == torch.bool:
        output.logical_not_()
    else:
        output.add_(number + 5)


def weights_like(tensor: torch.Tensor) -> torch.Tensor:
    """A cotangent without symmetries, the same for every tensor of that shape: normal numbers."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tensor.shape, dtype=torch.float64, generator=generator).to(tensor.dtype)


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _facts(
    tensor: torch.Tensor, others: Mapping[str, torch.Tensor], version: int | None = None
) -> TensorFacts:
    memory = tensor.untyped_storage()
    base = tensor._base
    return TensorFacts(
        value=tensor.detach().clone(),
        requires_grad=tensor.requires_grad,
        is_leaf=tensor.is_leaf,
        strides=tensor.stride(),
        writes=0 if version is None else _version(tensor) - version,
        same_as=next((name for name, t in others.items() if t is tensor), ""),
        base=next((name for name, t in others.items() if t is base), ""),
        memory=tuple(
            f"{name} + {tensor.data_ptr() - t.data_ptr()}"
            for name, t in others.items()
            if t is not tensor
            and t.nbytes
            and tensor.nbytes
            and t.untyped_storage().data_ptr() == memory.data_ptr()
        ),
    )


def compare(
    found: TensorFacts | None,
    wanted: TensorFacts | None,
    where: str,
    judge: Callable[[torch.Tensor, torch.Tensor, str], None],
) -> None:
    """Assert that a tensor looks like eager's; `judge(found, wanted, where)` asserts it of the values."""
    if found is None or wanted is None:
        assert found is wanted, f"{where}: {'nothing' if found is None else 'something'}, unlike eager"
        return
    judge(found.value, wanted.value, where)
    for name in ("requires_grad", "is_leaf", "strides", "same_as", "base", "memory"):
        if name in ("strides", "requires_grad") and where.startswith("gradient"):
            continue  # autograd itself accumulates into whatever layout it finds
        have, want = getattr(found, name), getattr(wanted, name)
        assert have == want, f"{where}: {name} is {have!r}, in eager {want!r}"
    # Several writes may become one, but autograd has to notice that there were any.
    assert (found.writes > 0) == (wanted.writes > 0), (
        f"{where}: {found.writes} writes, in eager {wanted.writes}"
    )


def close(found: torch.Tensor, wanted: torch.Tensor, where: str, ulps: int = 16) -> None:
    """Equal shape and dtype, values within `ulps` units in the last place of the largest magnitude; integers equal."""
    assert found.dtype == wanted.dtype, f"{where}: dtype {found.dtype}, in eager {wanted.dtype}"
    assert found.shape == wanted.shape, f"{where}: shape {list(found.shape)}, in eager {list(wanted.shape)}"
    if not wanted.is_floating_point() or not ulps:
        assert torch.equal(found, wanted), f"{where}: {found}, in eager {wanted}"
        return
    assert torch.equal(found.isnan(), wanted.isnan()), f"{where}: {found}, in eager {wanted}"
    finite = wanted.isfinite()
    assert torch.equal(found[~finite].nan_to_num(), wanted[~finite].nan_to_num()), (
        f"{where}: {found}, in eager {wanted}"
    )
    if finite.any():
        error = (found[finite].double() - wanted[finite].double()).abs().max()
        bound = ulps * torch.finfo(wanted.dtype).eps * wanted[finite].double().abs().max()
        assert error <= bound, (
            f"{where}: differs by {error:.3g}, allowed {bound:.3g}:\n{found}\nin eager\n{wanted}"
        )


# --- Float32 judged against float64 ----------------------------------------------------------------------------------

FLOOR = 1e-6
"""The relative error that is always allowed in float32."""

Tensors = Mapping[str, torch.Tensor]


def assert_as_accurate(runs: Sequence[tuple[Tensors, Tensors, Tensors]], floor: float = FLOOR) -> None:
    """Judge named float32 tensors of one or more runs (ours, eager's, and in float64) by their relative errors.

    A tensor's relative error is its largest error against float64 over the largest element, the largest of all runs. It
    is at most twice eager's, or `floor`. Where the true value is nothing but cancellation (a bias before batch norm:
    below `floor` of the largest tensor of all), errors are rounding errors of that scale, and count against it. No
    tensor is left out.
    """
    ours: dict[str, float] = {}
    eagers: dict[str, float] = {}
    for found, eager, exact in runs:
        assert found.keys() == eager.keys() == exact.keys()
        scale = max(_largest(t) for t in exact.values())
        for name, want in exact.items():
            assert found[name].shape == eager[name].shape and found[name].dtype == eager[name].dtype, name
            size = _largest(want)
            size = scale if size < floor * scale else size
            for errors, tensor in ((ours, found[name]), (eagers, eager[name])):
                error = _largest(tensor.double() - want)
                assert error == error, f"{name}: NaN"
                errors[name] = max(errors.get(name, 0.0), error / size if size else error)
    for name, error in ours.items():
        bound = max(2 * eagers[name], floor)
        assert error <= bound, f"{name}: relative error {error:.3g}, allowed {bound:.3g}"


def _largest(tensor: torch.Tensor) -> float:
    return tensor.abs().max().item() if tensor.numel() else 0.0
