# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C54 to C59: what the backward takes over from the forward."""

import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flambeau
from flambeau.pipelines.partitioning import partitioners
from flambeau.pipelines.partitioning.joint import Joint
from tests.contract.rungs import differentiated, gradients, op_names, signatures, stages, strict
from tests.oracle import close, leaf, numbers, weights_like


def _signatures(function: Any, arguments: Any, rung: str, folder: Path, **given: Any) -> Any:
    """The facts of forward and backward, from the IR after the partition; gradients are eager's."""
    options = {"dump": folder, **given.pop("options", {})}
    compiled = strict(function, rung, options=options, **given)
    leaves = [a for a in arguments if a.requires_grad]
    found, expected = compiled(*arguments), function(*arguments)
    for one, other in zip(gradients(found, *leaves), gradients(expected, *leaves), strict=True):
        close(one, other, "gradient", ulps=64)
    return signatures(stages(folder)["partition"])


@differentiated
def test_c54_default_partition(rung: str, tmp_path: Path) -> None:
    """The forward is what eager's forward ran: of layer norm, its result and the two statistics."""
    facts = _signatures(
        lambda x, w, b: F.layer_norm(x, (4,), w, b),
        [leaf(2, 3, 4), leaf(4), leaf(4)],
        rung,
        tmp_path,
        options={"partitioner": "save-all"},
    )
    forward, backward = facts["forward"], facts["backward"]
    assert len(forward.arguments) == 3 and [r.saved for r in forward.results] == [False, True, True]
    roles = Counter(a.role for a in backward.arguments)
    assert roles == {"saved": 4, "tangent": 1} and len(backward.results) == 3
    assert op_names(stages(tmp_path)["partition"], "forward") == ["native_layer_norm"]


def _cosines(x: torch.Tensor) -> torch.Tensor:
    return x.cos().cos().cos()


def _sum_of_four(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    return (a + b + c + d).cos().cos()


def _total(x: torch.Tensor) -> torch.Tensor:
    return x.sum(dim=(0, 1))


@differentiated
@pytest.mark.parametrize(
    ("function", "count", "dynamic", "saved"),
    [(_cosines, 1, False, 1), (_sum_of_four, 4, False, 1), (_total, 1, True, 2)],
    ids=["cosines", "sum-of-four", "sizes"],
)
def test_c55_minimum_cut(
    function: Any, count: int, dynamic: bool, saved: int, rung: str, tmp_path: Path
) -> None:
    """Only the input; only one sum; two sizes, and not the tensor."""
    arguments = [leaf(3, 5) for _ in range(count)]
    options = {"partitioner": "min-cut"}
    facts = _signatures(function, arguments, rung, tmp_path, options=options, dynamic=dynamic)
    kept = [a for a in facts["backward"].arguments if a.role == "saved"]
    assert len(kept) == saved
    assert all((a.dtype is None) == (function is _total) for a in kept)


@differentiated
def test_c56_partitioner_of_ones_own(rung: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the joint graph, and is asked only if there are gradients; the lowering may be replaced as well."""
    for name in partitioners.PARTITIONERS.keys() - {"min-cut", "save-all"}:  # left as it is found
        monkeypatch.delitem(partitioners.PARTITIONERS, name)
    seen: list[tuple[int, int]] = []

    @partitioners.register_partitioner("arguments")
    def save_arguments(joint: Joint) -> list[Any]:
        seen.append((len(joint.arguments) - len(joint.tangents), len(joint.tangents)))
        return [joint.block.arguments[0], joint.block.arguments[1]]

    def function(x: torch.Tensor, w: torch.Tensor) -> Any:
        return (x * w).exp().sum(1)

    options: dict[str, Any] = {"partitioner": "arguments"}
    facts = _signatures(function, [leaf(2, 3), leaf(3)], rung, tmp_path, options=options)
    assert [a.role for a in facts["backward"].arguments] == ["saved", "saved", "tangent"]
    assert all(a.of_result is None for a in facts["backward"].arguments if a.role == "saved")
    with torch.no_grad():
        strict(function, rung, options=options)(numbers(2, 3), numbers(3))
    assert seen == [(2, 1)]
    with pytest.raises(ValueError, match="unknown value 'min_cut'; did you mean 'min-cut'"):
        flambeau.compile(function, backend=rung, options={"partitioner": "min_cut"})


@differentiated
def test_c57_saved_values_do_not_leak(rung: str) -> None:
    compiled = strict(lambda w: (w.exp(), w.sin()[1:], (w * w).cos()), rung)
    for differentiate in (False, True):
        outputs = compiled(leaf(3))
        if differentiate:
            outputs[2].sum().backward(retain_graph=True)
        watched = [weakref.ref(o) for o in (*outputs, outputs[0].grad_fn)]
        del outputs
        assert [reference() for reference in watched] == [None] * 4


def _deciding(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The backward compares `h` with its maxima, which are an output: it must be told them as they are."""
    h = (x @ w).tanh()
    return h.amax(1), h.exp().mean(0).sin()


@differentiated
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_c58_saved_values_in_fewer_bits(dtype: str, rung: str, tmp_path: Path) -> None:
    """Half the bytes; outputs are exact, gradients within a hundredth."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 4), nn.Softmax(-1))
    narrow = {"options": {"saved_dtype": dtype, "dump": tmp_path}}
    compiled, runs = strict(network, rung, **narrow), []
    for call in (compiled, network):
        x = numbers(64, 16).requires_grad_()
        y = call(x)
        runs.append([y.detach(), *torch.autograd.grad(y, [x, *network.parameters()], weights_like(y))])
    (found, *have), (expected, *want) = runs
    close(found, expected, "output", ulps=64)
    errors = [(h - w).abs().max() / w.abs().max() for h, w in zip(have, want, strict=True)]
    assert 1e-5 < max(errors) < 1e-2
    facts = signatures(stages(tmp_path)["narrow-saved"])
    saved = [r.dtype for r in facts["forward"].results if r.saved]
    assert saved and torch.float32 not in saved


@differentiated
def test_c58_values_that_decide_stay_exact(rung: str) -> None:
    """Rounded, no element would be its row's maximum any more."""
    runs = []
    for call in (strict(_deciding, rung, options={"saved_dtype": "bfloat16"}), _deciding):
        x, w = leaf(6, 5), leaf(5, 7)
        largest, mean = call(x, w)
        runs.append(torch.autograd.grad([largest.sum(), mean.sum()], [x, w]))
    for have, want in zip(*runs, strict=True):
        assert (have - want).abs().max() < 1e-2 * want.abs().max()


@differentiated
def test_c59_saved_tensor_hooks(rung: str) -> None:
    """Hooks around the call act on each saved float tensor once, and need no recompilation."""
    packed: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point() and tensor.numel():
            packed.append(tensor)
        return tensor * 2

    w, x = leaf(3), numbers(3)
    compiled = strict(lambda w, x: (w * x).exp().sum(), rung)
    for hooked in (False, True):
        with torch.autograd.graph.saved_tensors_hooks(
            pack if hooked else lambda t: t, (lambda t: t / 2) if hooked else lambda t: t
        ):
            loss = compiled(w, x)
        (gradient,) = torch.autograd.grad(loss, w)
        close(gradient, x * (w.detach() * x).exp(), "gradient")
    assert len(packed) == 2 and len({id(t) for t in packed}) == 2
