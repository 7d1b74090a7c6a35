# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""create_graph=True: second and third derivatives of compiled code are eager's, and only computed when asked for."""

import gc
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradgradcheck
from torch.autograd.function import once_differentiable
from torch.autograd.functional import hessian, hvp, vhp
from torch.nn.attention import SDPBackend, sdpa_kernel

import flambeau
from flambeau.dialects.bindings import ir
from flambeau.pipelines.lower_to_torch.torch_builder import RULES
from flambeau.runtime.devices import environment
from tests.oracle import Make, assert_as_accurate, close, tensors_in, weights_like
from tests.sweeps import databases
from tests.sweeps.table import read_table

Function = Callable[..., Any]

interpreted = pytest.mark.parametrize("backend", ["partitioned"])
"""What is not about compiled code."""
both = pytest.mark.parametrize("backend", ["partitioned", pytest.param("cpu", marks=pytest.mark.slow)])


def compiled(function: Function, backend: str, **options: Any) -> Any:
    given = {"fallback": "error", **options}
    return flambeau.compile(function, backend=backend, fullgraph=True, options=given)


def line(*shape: int, start: float = -1.0, grad: bool = True) -> torch.Tensor:
    """Float64 numbers from `start` to 1."""
    numbers = torch.linspace(start, 1, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    return numbers.requires_grad_(grad)


def derivatives(
    function: Function, leaves: Sequence[torch.Tensor], arguments: Sequence[Any], order: int
) -> list[torch.Tensor | None]:
    """The outputs of a call and their derivatives up to an order: each of a weighted sum of all of those before it.

    By the leaves, and from the second on also by the weights.
    """
    variables = [leaf for leaf in leaves if leaf.requires_grad]
    values: list[torch.Tensor | None] = tensors_in(function(*arguments))
    roots = values
    for step in range(1, order + 1):
        differentiable = [r for r in roots if r is not None and r.requires_grad]
        if not differentiable or not variables:
            break
        weights = [weights_like(r).requires_grad_() for r in differentiable]
        roots = list(
            torch.autograd.grad(
                differentiable, variables, weights, create_graph=step < order, allow_unused=True
            )
        )
        variables = variables + weights
        values = values + roots
    return values


def assert_derivatives_like_eager(
    function: Function, make: Make, backend: str, order: int, same: Function | None = None
) -> None:
    """Compare all derivatives up to an order, in float64. Where one of both has zeros, the other may have none."""
    runs = []
    for call in (function if same is None else same, compiled(function, backend)):
        torch.manual_seed(0)
        runs.append(derivatives(call, *make(), order))
    wanted, found = runs
    scale = max((float(w.detach().abs().max()) for w in wanted if w is not None and w.numel()), default=0.0)
    for index, (have, want) in enumerate(zip_longest(found, wanted)):
        if have is None or want is None:
            other = want if have is None else have
            assert other is None or not other.any(), f"{index}: {have}, in eager {want}"
            continue
        if not want.numel():
            assert have.shape == want.shape
            continue
        # What is nothing but cancellation (a bias before batch norm) is as exact as what was cancelled.
        if want.detach().abs().max() < 1e-12 * scale:
            assert have.detach().abs().max() < 1e-12 * scale, f"{index}"
        else:
            close(have.detach(), want.detach(), f"{index}", ulps=512)


# --- Like eager ------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """One block of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.projection, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.projection(self.norm(x)).view(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return x + self.out(found.transpose(1, 2).reshape(2, 5, 8))


class Convolutional(nn.Module):
    """Convolution, batch norm and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.out = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = F.avg_pool2d(F.silu(self.norm(self.convolution(x))), 2)
        return self.out(F.max_pool2d(found, 2).flatten(1))


class Classifier(nn.Module):
    """An embedding and a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(7, 4), nn.Linear(4, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.tensor([1, 2, 2, 6])
        scores = self.out(self.embedding(tokens) * x)
        return F.cross_entropy(scores, torch.tensor([2, 0, 6, -100]), label_smoothing=0.1)


def perceptron(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 4), activation, nn.Linear(4, 1))


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "tanh": (lambda: perceptron(nn.Tanh()), (2, 3), 3),
    "gelu": (lambda: perceptron(nn.GELU()), (2, 3), 3),
    "silu": (lambda: perceptron(nn.SiLU()), (2, 3), 3),
    "softplus": (lambda: perceptron(nn.Softplus()), (2, 3), 3),
    "relu": (lambda: perceptron(nn.ReLU()), (2, 3), 2),
    "convolutional": (Convolutional, (2, 2, 4, 4), 2),
    "convolutional, eval": (lambda: Convolutional().eval(), (2, 2, 4, 4), 2),
    "attention": (Attention, (2, 5, 8), 2),
    "classifier": (Classifier, (4, 4), 2),
}
FAST = {("tanh", "cpu"), ("convolutional", "cpu"), *((name, "partitioned") for name in MODULES)}
COMPILED = ("tanh", "convolutional", "attention", "classifier")
modules = pytest.mark.parametrize(
    ("name", "backend"),
    [
        pytest.param(name, backend, marks=() if (name, backend) in FAST else pytest.mark.slow)
        for name in MODULES
        for backend in ("functional", "partitioned", "cpu")
        if backend != "cpu" or name in COMPILED
    ],
)


def made(name: str, dtype: torch.dtype) -> tuple[nn.Module, Make]:
    build, shape, _ = MODULES[name]
    torch.manual_seed(0)
    module = build().to(dtype)
    state = {key: value.clone() for key, value in module.state_dict().items()}

    def make() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
        module.load_state_dict(state)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        x = x.to(dtype).requires_grad_()
        return [x, *module.parameters()], [x]

    return module, make


@modules
def test_like_eager(name: str, backend: str) -> None:
    module, make = made(name, torch.float64)
    before = flambeau.counters["graphs.gradients"]
    # PyTorch's fused attention has no second derivatives.
    with sdpa_kernel(SDPBackend.MATH) if name == "attention" else nullcontext():
        assert_derivatives_like_eager(module, make, backend, MODULES[name][2])
    order = MODULES[name][2] if backend != "functional" else 1
    assert flambeau.counters["graphs.gradients"] == before + order - 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gelu", "attention"])
def test_float32_is_as_accurate_as_eager(name: str) -> None:
    runs = []
    for dtype, backend in ((torch.float32, "cpu"), (torch.float32, None), (torch.float64, None)):
        module, make = made(name, dtype)
        call = module if backend is None else compiled(module, backend)
        with sdpa_kernel(SDPBackend.MATH):
            values = derivatives(call, *make(), 2)
        runs.append({f"{i}": v.detach() for i, v in enumerate(values) if v is not None})
    found, eager, exact = ({k: run[k] for k in runs[1]} for run in runs)
    assert_as_accurate([(found, eager, {k: v.double() for k, v in exact.items()})])


# Drawn on the way, on these rungs by Flambeau's own generator.
RANDOM = {"nn.functional.multi_head_attention_forward", "normal", "nn.functional.rrelu"}


@pytest.mark.slow
def test_operators_like_eager() -> None:
    """Of the operators that are native, and that PyTorch differentiates twice, every fourth, with its first sample."""
    known = databases._operators()
    rows = {
        entry: row
        for (where, entry, dtype), row in read_table().items()
        if (where, dtype) == ("op_db", "float32")
    }
    native = sorted(e for e, r in rows.items() if r["backward"] == "native" and known[e].supports_gradgrad)
    failures = []
    for entry in native[::4]:
        if entry in RANDOM or "dropout" in entry:
            continue
        torch._dynamo.reset()
        subject = databases.load("op_db", entry, torch.float64, 0)
        try:
            assert_derivatives_like_eager(subject.function, subject.make(True, 0), "partitioned", 2)
        except AssertionError as error:
            failures.append(f"{entry}: {error}")
    assert not failures, "\n".join(failures)


# --- What it is used for ---------------------------------------------------------------------------------------------


@both
def test_physics_informed_network(backend: str) -> None:
    """Derivatives of the network inside the loss: u'' + u = 0."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    gradients = []
    for call in (network, compiled(network, backend)):
        x = line(5, 1)
        u = call(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        loss = (curvature + u).square().mean() + (slope[0] - 1).square().sum()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for index, (want, have) in enumerate(zip(*gradients, strict=True)):
        close(have, want, f"gradient {index}", ulps=64)


@both
def test_gradient_penalty(backend: str) -> None:
    """WGAN-GP: the loss holds the norm of the critic's gradient."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.LayerNorm(8), nn.Linear(8, 1)).double()
    found = []
    for call in (critic, compiled(critic, backend)):
        x = line(6, 4)
        score = call(x)
        (gradient,) = torch.autograd.grad(score, x, torch.ones_like(score), create_graph=True)
        loss = score.mean() + 10 * (gradient.norm(dim=1) - 1).square().mean()
        critic.zero_grad()
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in critic.parameters())])
    for index, (want, have) in enumerate(zip(*found, strict=True)):
        close(have, want, f"{index}", ulps=64)


@interpreted
def test_hessian_and_its_products(backend: str) -> None:
    weight = line(4, 4, grad=False).sin()

    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(weight @ x).pow(3).sum()

    fast, x, v = compiled(f, backend), line(4, grad=False), line(4, start=0.5, grad=False)
    close(hessian(fast, x), hessian(f, x), "Hessian")
    for product in (hvp, vhp):
        for have, want in zip(product(fast, x, v), product(f, x, v), strict=True):
            close(have, want, product.__name__)


@interpreted
@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.softplus(x) * x.mean(),
        lambda x: F.layer_norm(x, (3,)).tanh(),
        lambda x: x.softmax(1).logsumexp(0),
    ],
    ids=["softplus", "layer norm", "softmax"],
)
def test_numerically(function: Function, backend: str) -> None:
    assert gradgradcheck(compiled(function, backend), (line(2, 3),))


@both
def test_dynamic_sizes(backend: str) -> None:
    def f(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return ((x @ w).tanh().mean(0) * x.shape[0]).sum()

    fast = flambeau.compile(f, backend=backend, dynamic=True, options={"fallback": "error"})
    before = flambeau.counters["graphs"], flambeau.counters["graphs.gradients"]
    for rows in (3, 5, 7):
        w = line(4, 2)
        for have, want in zip(
            derivatives(fast, [x := line(rows, 4), w], [x, w], 2),
            derivatives(f, [x := line(rows, 4), w], [x, w], 2),
            strict=True,
        ):
            close(have, want, f"{rows} rows", ulps=64)
    assert (flambeau.counters["graphs"], flambeau.counters["graphs.gradients"]) == (
        before[0] + 1,
        before[1] + 1,
    )


# --- Which gradients there are ---------------------------------------------------------------------------------------


@interpreted
def test_only_when_asked_for(backend: str) -> None:
    before = flambeau.counters["graphs.gradients"]
    w, x = line(3), line(3)
    fast = compiled(lambda w, x: (w.exp() * x).sum(), backend)
    fast(w, x).backward()
    assert flambeau.counters["graphs.gradients"] == before
    for _ in range(2):
        gradient = torch.autograd.grad(fast(w, x), w, create_graph=True)[0]
        assert flambeau.counters["graphs.gradients"] == before + 1
        close(torch.autograd.grad(gradient.sum(), w)[0], (w.exp() * x).detach(), "second derivative")
    torch.autograd.grad(fast(w, x), (w, x), create_graph=True)
    assert flambeau.counters["graphs.gradients"] == before + 2, "more gradients are another graph"


@interpreted
def test_of_a_constant_gradient(backend: str) -> None:
    w, x = line(3), torch.ones(2, 3, dtype=torch.float64)
    fast = compiled(lambda w: (x @ w).sum(), backend)
    (gradient,) = torch.autograd.grad(fast(w), w, create_graph=True)
    assert not gradient.requires_grad
    close(torch.autograd.grad(gradient.sum() + w.sum(), w)[0], torch.ones_like(w), "gradient")


@interpreted
def test_none_stays_none(backend: str) -> None:
    """The second derivative by what only adds: none in eager, none here. That by what is compared with 0: zeros."""
    for call in (function := lambda w, b: (w.relu() * w + b).sum(), compiled(function, backend)):
        w, b = line(4), line(4)
        (gradient,) = torch.autograd.grad(call(w, b), w, create_graph=True)
        assert torch.autograd.grad(gradient.sum(), b, allow_unused=True) == (None,)
    for call in (F.relu, compiled(F.relu, backend)):
        w = line(4)
        (gradient,) = torch.autograd.grad(call(w).sum(), w, create_graph=True)
        close(torch.autograd.grad(gradient.sum(), w)[0], torch.zeros_like(w), "second derivative")


@interpreted
def test_by_the_tangent(backend: str) -> None:
    """The gradient is linear in the tangent, and that may be all that requires a gradient of it."""
    w, x, scale = line(3), torch.ones(2, 3, dtype=torch.float64), line(2)
    fast = compiled(lambda w: x @ w, backend)
    (gradient,) = torch.autograd.grad(fast(w), w, scale.exp(), create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), scale)
    close(second, 3 * scale.detach().exp(), "by the tangent")


@interpreted
def test_one_of_several_outputs(backend: str) -> None:
    """Outputs that nobody uses have no tangent, and an argument of theirs alone has no gradient."""
    fast = compiled(lambda x, y: (x.sin(), (x * y).exp()), backend)
    x, y = line(3), line(3)
    output, _ = fast(x, y)
    gradient, none = torch.autograd.grad(output.sum(), (x, y), create_graph=True, allow_unused=True)
    assert none is None
    close(torch.autograd.grad(gradient.sum(), x)[0], -x.detach().sin(), "second derivative")


@interpreted
def test_of_what_is_no_leaf(backend: str) -> None:
    assert_derivatives_like_eager(lambda x: x.tanh() * x, lambda: ([x := line(4)], [x.exp()]), backend, 3)


@interpreted
def test_random_numbers_are_the_same_again(backend: str) -> None:
    x = line(64, start=0.5)
    loss = compiled(lambda x: F.dropout(x, 0.5).square().sum(), backend)(x)
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    close((gradient * x).sum().detach() / 2, loss.detach(), "of the same mask")
    close(second, (gradient / x).detach(), "second derivative")
    assert 0 < int((second == 0).sum()) < 64


@interpreted
def test_branches(backend: str) -> None:
    fast = compiled(lambda p, x: torch.cond(p, lambda x: x.tanh() * x, lambda x: x.exp(), (x,)), backend)
    for chosen, branch in ((True, lambda x: x.tanh() * x), (False, torch.exp)):
        wanted = derivatives(branch, [x := line(3)], [x], 3)
        found = derivatives(lambda x, p=chosen: fast(torch.tensor(p), x), [x := line(3)], [x], 3)
        for have, want in zip(found, wanted, strict=True):
            close(have, want, f"{chosen}")


@interpreted
def test_autocast_around_the_backward_changes_nothing(backend: str) -> None:
    w = line(3, 3).detach().float().requires_grad_()
    loss = compiled(lambda w: (w @ w).tanh().sum(), backend)(w)
    with torch.autocast("cpu"):
        (gradient,) = torch.autograd.grad(loss, w, create_graph=True)
    (wanted,) = torch.autograd.grad((w @ w).tanh().sum(), w)
    close(gradient.detach(), wanted, "gradient")


# --- What is kept for it ---------------------------------------------------------------------------------------------


@interpreted
def test_retain_graph(backend: str) -> None:
    w = line(3)
    loss = compiled(lambda w: w.exp().sum(), backend)(w)
    (gradient,) = torch.autograd.grad(loss, w, create_graph=True)
    for _ in range(2):
        (second,) = torch.autograd.grad(gradient.sum(), w, retain_graph=True)
        close(second, w.detach().exp(), "second derivative")
    torch.autograd.grad(loss, w)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, w, create_graph=True)


def _product_of_tanh(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (x + w).tanh()


@interpreted
def test_a_write_in_between(backend: str) -> None:
    """Only the derivative of the gradient needs x: the first derivative does not mind that it was written."""
    x, w = line(3, grad=False), line(3)
    output = compiled(_product_of_tanh, backend)(x, w)
    wanted = 1 - output.detach().square()
    x.add_(1)
    (gradient,) = torch.autograd.grad(output.sum(), w, create_graph=True)
    close(gradient.detach(), wanted, "first derivative")
    with pytest.raises(
        RuntimeError, match=r"modified by an inplace operation.* at version 1; expected version 0"
    ):
        torch.autograd.grad(gradient.sum(), w)


@interpreted
def test_what_the_graph_wrote(backend: str) -> None:
    """The old value keeps its history where the backward needs it; where it is gone, nobody makes one up."""

    def scaled(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        x.mul_(w)
        return x.tanh() * w

    def make() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
        a, w = line(4), line(4, start=0.5)
        return [a, w], [a.sin(), w]

    assert_derivatives_like_eager(scaled, make, backend, 3)

    fast = compiled(lambda x, w: x.tanh_() * w, backend)
    (a, w), arguments = make()
    gradients = torch.autograd.grad(fast(*arguments).sum(), (a, w), create_graph=True)
    with pytest.raises(RuntimeError, match=r"cannot be differentiated again: the graph wrote .* not kept"):
        torch.autograd.grad(gradients[0].sum(), a)


@interpreted
def test_nothing_is_kept_after_the_backward(backend: str) -> None:
    x, w = line(3, grad=False).exp(), line(3)
    output = compiled(_product_of_tanh, backend)(x, w)
    memory = weakref.ref(x.untyped_storage())
    x = None
    assert memory() is not None, "the derivative of the gradient is computed from it"
    output.sum().backward()
    gc.collect()
    assert memory() is None


@interpreted
def test_nothing_is_kept_for_linear_functions(backend: str) -> None:
    x, w = line(3, grad=False).exp(), line(3)
    output = compiled(lambda x, w: x * 2 + w, backend)(x, w)
    memory = weakref.ref(x.untyped_storage())
    x = None
    assert memory() is None and output.requires_grad


@interpreted
def test_no_cycle_through_a_written_argument(backend: str) -> None:
    """`a` gets a history that leads to the graph, which needs `a` for derivatives of its gradients."""
    w = line(3)
    fast = compiled(_product_of_tanh, backend)
    for make in (lambda: line(3, grad=False).exp(), lambda: line(3).exp()):
        a = make()
        a.add_(fast(a, w))
        gone = weakref.ref(a)
        a = None
        gc.collect()
        assert gone() is None


@interpreted
def test_saved_tensor_hooks(backend: str) -> None:
    w, x = line(3), line(3)
    fast = compiled(lambda w, x: (w * x).exp().sum(), backend)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t.clone()):
        loss = fast(w, x)
    (gradient,) = torch.autograd.grad(loss, w, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), w)
    close(second, ((w * x).exp() * x * x).detach(), "second derivative")


# --- On the host, and what is refused --------------------------------------------------------------------------------


@both
def test_through_the_host(backend: str) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(x @ x.t() + torch.diag(x[0] + 3)).sin() * x.tanh().sum()

    fast = flambeau.compile(f, backend=backend)
    for have, want in zip(
        derivatives(fast, [x := line(3, 3)], [x], 3), derivatives(f, [x := line(3, 3)], [x], 3), strict=True
    ):
        close(have, want, "derivative", ulps=4096)


@torch.library.custom_op("flambeau_tests::cubed", mutates_args=())
def cubed(x: torch.Tensor) -> torch.Tensor:
    return x * x * x


cubed.register_fake(torch.empty_like)
cubed.register_autograd(
    lambda ctx, gradient: 3 * ctx.saved_tensors[0] ** 2 * gradient,
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


class Doubled(torch.autograd.Function):
    """x * x, once."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


@interpreted
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: cubed(x) * x, "flambeau_tests.cubed.default runs on the host"),
        (lambda x: Doubled.apply(x) * x, "the backward of a custom autograd.Function"),
    ],
    ids=["a user's op", "a user's function"],
)
def test_refused(function: Function, reason: str, backend: str) -> None:
    """What might not be right is an error, when the gradient is differentiated; the gradient itself is right."""
    x = line(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", flambeau.FlambeauWarning)
        loss = flambeau.compile(function, backend=backend)(x).sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    (wanted,) = torch.autograd.grad(function(x).sum(), x)
    close(gradient.detach(), wanted, "gradient")
    # Also where there is another way to the leaf: the penalty must not count as a constant.
    for penalised in (gradient.sum(), gradient.sum() + x.sum()):
        with pytest.raises(RuntimeError, match=f"cannot be differentiated again: .*{reason}"):
            torch.autograd.grad(penalised, x, retain_graph=True)


@pytest.mark.slow
def test_a_draw_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch drew the mask, because IREE refuses the line: nobody can draw it again."""

    def nonsense(op: Any) -> Any:
        name = {"name": ir.StringAttr.get("torch.aten.nonsense")}
        types = list(op.result_types)
        return ir.Operation.create("torch.operator", types, [op.x], name, regions=0).results[0]

    monkeypatch.setitem(RULES, "flambeau.sin", nonsense)
    x = line(4).detach().float().requires_grad_()
    fast = flambeau.compile(lambda x: F.dropout(x, 0.5).sin().exp().sum() * x.tanh().sum(), backend="cpu")
    with pytest.warns(flambeau.FlambeauWarning, match="PyTorch runs the ops of"):
        loss = fast(x)
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="its draw on the host cannot be repeated"):
        torch.autograd.grad(gradient.sum(), x)


@pytest.mark.slow
def test_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLAMBEAU_CACHE_SIZE", raising=False)
    monkeypatch.setattr(environment, "source_digest", lambda: "sources")  # which may be worked on meanwhile

    def run() -> torch.Tensor:
        torch._dynamo.reset()
        w = line(3)
        fast = compiled(lambda w: (w.tanh() * 2).exp().sum(), "cpu", cache_dir=str(tmp_path))
        (gradient,) = torch.autograd.grad(fast(w), w, create_graph=True)
        return torch.autograd.grad(gradient.sum(), w)[0]

    before = flambeau.counters["cache.miss"]
    first = run()
    assert flambeau.counters["cache.miss"] == before + 2
    before = flambeau.counters["cache.hit"]
    assert torch.equal(run(), first)
    assert flambeau.counters["cache.hit"] == before + 2
