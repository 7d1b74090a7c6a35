# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C60 to C67: dtypes, layouts, sizes, random numbers, norms, constants."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flambeau
from tests.contract.conftest import State
from tests.contract.rungs import STRICT, counted, gradients, strict
from tests.oracle import assert_like_eager, close, leaf, numbers, plain, weights_like


def test_c60_autocast(rung: str) -> None:
    """Inside the graph and around the call; a backward under autocast is not cast a second time."""

    def inside(x: torch.Tensor, w: torch.Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = x @ w
            with torch.autocast("cpu", enabled=False):
                z = x @ w
            return y, y.sum(), F.softmax(y, -1), z

    # Float32 gradients of bfloat16 work: one unit of bfloat16.
    assert_like_eager(inside, plain(lambda: leaf(3, 4), lambda: leaf(4, 2)), backend=rung, ulps=2**16)

    def run(function: Any) -> list[torch.Tensor]:
        x, w = leaf(3, 4), leaf(4, 2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = function(x, w)
            return [y, *torch.autograd.grad(y, [x, w], weights_like(y))]

    product = lambda x, w: x @ w  # noqa: E731
    for found, expected in zip(run(strict(product, rung)), run(product), strict=True):
        close(found, expected, "output or gradient")


_TANGENTS = {
    "expanded": lambda: torch.ones(()).expand(3, 4),
    "strided": lambda: numbers(6, 8)[::2, ::2],
    "transposed": lambda: numbers(4, 3).t(),
    "reversed": lambda: numbers(3, 4).flip(1)[:, 1:].mT.contiguous().mT.repeat(1, 2)[:, :4],
}


def test_c61_tangents_of_any_layout(rung: str) -> None:
    compiled = strict(lambda x: x.sin(), rung)
    for name, tangent in _TANGENTS.items():
        x, y = leaf(3, 4), leaf(3, 4)
        compiled(x).backward(tangent())
        y.sin().backward(tangent())
        assert x.grad is not None and y.grad is not None
        close(x.grad, y.grad, name)


def test_c61_channels_last_stays(rung: str) -> None:
    def channels_last() -> torch.Tensor:
        return numbers(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()

    def function(x: torch.Tensor, w: torch.Tensor) -> Any:
        return x * 2, torch.relu(x), x.contiguous(), x.sum(1), F.conv2d(x, w)

    assert_like_eager(function, plain(channels_last, lambda: leaf(2, 3, 2, 2)), backend=rung, ulps=64)
    x = channels_last()
    y = strict(lambda x: torch.relu(x), rung)(x)
    for tangent in (torch.ones_like(y), torch.ones(2, 3, 4, 4), torch.ones(()).expand(2, 3, 4, 4)):
        (g,) = torch.autograd.grad(y, x, tangent, retain_graph=True)
        close(g, (x > 0).float(), "gradient")


def test_c62_one_compilation_for_many_sizes(rung: str) -> None:
    def function(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> Any:
        h = torch.relu(x @ w)
        y.add_(1)
        return h.t(), h.view(-1)[::2], h.sum(0), h + y

    compiled = strict(function, rung, dynamic=True)
    with counted("graphs") as graphs:
        for batch in (10, 20, 30, 40):
            make = plain(lambda b=batch: leaf(b, 6), lambda: leaf(6, 8), lambda b=batch: numbers(b, 8))
            assert_like_eager(function, make, compiled=compiled, afterwards=("nothing",))
        assert graphs() == 1
    with pytest.raises(Exception, match=r"(?i)size|shape|dim"):
        compiled(numbers(3, 6), numbers(6, 8), numbers(4, 8))


def test_c63_sizes_that_depend_on_data(rung: str, state: State) -> None:
    """In one graph with `capture_dynamic_output_shape_ops`; the op that makes the size runs on the host."""

    def function(mask: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return mask.nonzero().to(torch.float32) * scale

    with (
        torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True),
        counted("graphs.eager") as in_eager,
        counted("graphs") as graphs,
    ):
        compiled = flambeau.compile(function, backend=rung, fullgraph=True)
        for values in ([0, 0, 0], [1, 0, 1], [1, 1, 1]):
            mask = torch.tensor(values, dtype=torch.bool)
            make = plain(lambda m=mask: m, lambda: leaf())
            assert_like_eager(function, make, compiled=compiled)
        assert in_eager() == 0 and graphs() == 1


def test_c64_random_numbers(rung: str) -> None:
    compiled = strict(lambda x: torch.rand_like(x) + torch.randn(64) * 0, rung)
    x = torch.zeros(64)
    torch.manual_seed(7)
    first, second = compiled(x), compiled(x)
    torch.manual_seed(7)
    assert torch.equal(compiled(x), first) and torch.equal(compiled(x), second)
    assert not torch.equal(first, second)
    torch.manual_seed(8)
    assert not torch.equal(compiled(x), first)
    assert first.min() >= 0 and first.max() < 1 and 0.3 < first.mean() < 0.7


@pytest.mark.parametrize("partitioner", ["min-cut", "save-all"])
def test_c64_the_backward_has_the_mask_of_the_forward(partitioner: str, rung: str) -> None:
    x = leaf(16, 16)
    compiled = strict(lambda x: F.dropout(x.sin(), 0.25), rung, options={"partitioner": partitioner})
    masks = []
    for _ in range(2):
        found = compiled(x)
        (gradient,) = torch.autograd.grad(found.sum(), x)
        kept = found != 0
        close(gradient, torch.where(kept, x.cos() / 0.75, 0.0).detach(), "gradient", ulps=16)
        close(found.detach(), torch.where(kept, x.sin() / 0.75, 0.0).detach(), "output", ulps=16)
        assert 0.6 < kept.float().mean() < 0.9
        masks.append(kept)
    assert not torch.equal(*masks)


def test_c64_as_imported_random_numbers_are_eagers() -> None:
    function = lambda x: F.dropout(x, 0.5)  # noqa: E731
    compiled = strict(function, "imported")
    torch.manual_seed(3)
    found = [compiled(torch.ones(8, 8)) for _ in range(2)]
    torch.manual_seed(3)
    assert all(torch.equal(f, function(torch.ones(8, 8))) for f in found)


def test_c65_norms_are_exact(rung: str) -> None:
    """The interpreter's are bit for bit eager's; compiled code's to within rounding."""

    def function(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
        return F.layer_norm(x, (8,), w, b), F.rms_norm(x, (8,), w)

    found = strict(function, rung)(numbers(4, 8), numbers(8), numbers(8))
    for one, other in zip(found, function(numbers(4, 8), numbers(8), numbers(8)), strict=True):
        close(one, other, "output", ulps=4 if rung == "cpu" else 0)


def _of_complex(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (torch.view_as_complex(x) @ torch.view_as_complex(w)).abs().sum()


def test_c66_complex_numbers(rung: str, state: State) -> None:
    make = plain(lambda: leaf(3, 2, 2), lambda: leaf(2, 4, 2))
    with state.eager("complex"):
        assert_like_eager(_of_complex, make, backend=rung, fallback="eager")


def test_c66_sparse_gradients(rung: str, state: State) -> None:
    module = nn.EmbeddingBag(5, 3, mode="sum", sparse=True)
    compiled = flambeau.compile(module, backend=rung)
    indices, offsets = torch.tensor([0, 2, 2, 4]), torch.tensor([0, 2])
    with state.eager("sparse"):
        compiled(indices, offsets).sum().backward()
    assert module.weight.grad is not None and module.weight.grad.is_sparse
    expected = torch.tensor([1.0, 0, 2, 0, 1])[:, None].expand(5, 3)
    close(module.weight.grad.to_dense(), expected, "gradient")


@pytest.mark.parametrize(
    ("function", "make"),
    [
        (lambda x, y: x @ y, lambda: [torch.eye(3).to_sparse(), leaf(3, 2)]),
        (lambda x, y: x @ y, lambda: [torch.eye(3).to_sparse_csr(), leaf(3, 2)]),
        (lambda x: (x.sin().to_sparse() * 2).to_dense().cos(), lambda: [leaf(3, 3)]),
    ],
    ids=["coo", "csr", "inside"],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_c66_sparse_tensors(function: Any, make: Any, state: State) -> None:
    """TorchDynamo ends graphs there."""
    runs = []
    for call in (function, flambeau.compile(function, backend="partitioned", options=STRICT)):
        arguments = make()
        output = call(*arguments)
        runs.append([output.detach(), *gradients(output, arguments[-1])])
    for found, expected in zip(*runs, strict=True):
        close(found, expected, "output or gradient")
    state.left_by_dynamo("sparse tensors")


def test_c67_constants_made_inside(rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        return (
            x * torch.tensor([1.0, 2.0, 3.0]),
            torch.tensor([1, 2]),
            torch.zeros(3),
            torch.arange(4),
            torch.full((2,), 7) + x.sum(),
        )

    assert_like_eager(function, plain(lambda: leaf(3)), backend=rung)
