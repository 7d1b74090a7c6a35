# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The oracle: a compiled callable must do to its arguments, its results and their gradients what eager does.

`assert_like_eager` compares everything a caller can see of a call; `assert_gradients` judges float32 gradients
against float64.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

import flambeau

Make = Callable[[], tuple[Sequence[torch.Tensor], Sequence[Any]]]
"""Builds one call: the leaves whose gradients count, and the call's arguments, aliased as the test wants them."""

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
    versions: bool = True,
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
        expected = _observe(function, make, way, calls)
        torch.manual_seed(0)
        found = _observe(compiled, make, way, calls)
        if expected.refusal is not None:
            continue  # eager forbids this; where less is saved for the backward, it may be allowed
        assert found.refusal is None, f"{way}: eager allows it, but: {found.refusal}"
        assert found.structure == expected.structure, f"{way}: containers or constants differ"
        for kind in ("output", "input", "gradient"):
            facts, wanted = getattr(found, f"{kind}s"), getattr(expected, f"{kind}s")
            assert len(facts) == len(wanted)
            for index, (fact, want) in enumerate(zip(facts, wanted, strict=True)):
                _compare(fact, want, f"{kind} {index} (outputs afterwards: {way})", ulps, versions)


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


def _observe(function: Callable[..., Any], make: Make, way: str, calls: int) -> Observation:
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
    """A cotangent that is different in each element: cosines of the elements' numbers."""
    numbers = torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
    return torch.cos(numbers).to(tensor.dtype)


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


def _compare(
    found: TensorFacts | None, wanted: TensorFacts | None, where: str, ulps: int, versions: bool
) -> None:
    if found is None or wanted is None:
        assert found is wanted, f"{where}: {'nothing' if found is None else 'something'}, unlike eager"
        return
    close(found.value, wanted.value, where, ulps)
    for name in ("requires_grad", "is_leaf", "strides", "same_as", "base", "memory"):
        if name == "strides" and where.startswith("gradient"):
            continue  # autograd itself accumulates into whatever layout it finds
        have, want = getattr(found, name), getattr(wanted, name)
        assert have == want, f"{where}: {name} is {have!r}, in eager {want!r}"
    # Several writes may become one, but autograd has to notice that there were any.
    if versions:
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


def assert_gradients(
    found: Mapping[str, torch.Tensor | None],
    eager: Mapping[str, torch.Tensor | None],
    exact: Mapping[str, torch.Tensor | None],
    *,
    floor: float = FLOOR,
) -> None:
    """Each tensor's largest error against float64 is at most twice eager's own, or `floor` of its largest element.

    Where the true value is nothing but cancellation (a bias before batch norm: below `floor` of the largest tensor
    of them all), errors are rounding errors of that larger scale, and `floor` counts from there. No tensor is left out.
    """
    assert found.keys() == eager.keys() == exact.keys()
    present = [e for e in exact.values() if e is not None and e.numel()]
    scale = max((e.abs().max().item() for e in present), default=0.0)
    for name, want in exact.items():
        have, reference = found[name], eager[name]
        if want is None or have is None or reference is None:
            assert have is None and reference is None, f"{name}: only one of them has a gradient"
            continue
        assert have.shape == reference.shape and have.dtype == reference.dtype, name
        if not want.numel():
            continue
        size = want.abs().max().item()
        if size < floor * scale:
            size = scale
        bound = max(2 * _largest_error(reference, want), floor * size)
        error = _largest_error(have, want)
        assert error <= bound, f"{name}: error {error:.3g}, allowed {bound:.3g}, largest element {size:.3g}"


def _largest_error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return (found.double() - exact).abs().max().item()
