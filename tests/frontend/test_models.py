# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole models: inference and three steps of training are as good as eager's in float32, judged against float64."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flambeau
from flambeau.frontend.execution import bytecode
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.errors import BackendNotAvailableError
from flambeau.runtime.iree_compiler import compile_module
from tests.frontend.models import MODELS, Batch
from tests.oracle import assert_as_accurate, weights_like

RUNGS = ("imported", "functional", "partitioned", "cpu")


def batches(name: str, dynamic: bool) -> list[Batch]:
    model = MODELS[name]
    generator = torch.Generator().manual_seed(1)
    sizes = model.dynamic_sizes if dynamic else (model.static_size,) * 3
    return [model.batch(size, generator) for size in sizes]


def built(name: str, *, train: bool) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name].build().train(train)


def strictly(module: Any, backend: str, dynamic: bool = False) -> Callable[..., Any]:
    compiled: Callable[..., Any] = flambeau.compile(
        module, backend=backend, fullgraph=True, dynamic=dynamic, options={"fallback": "error"}
    )
    return compiled


def take_step(module: nn.Module, call: Callable[..., torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
    """One step of SGD: the output, gradients and the state afterwards, by name."""
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    optimizer.zero_grad()
    output = call(*batch)
    output.backward(weights_like(output) / output.numel())
    seen = {"output": output.detach()}
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        seen[f"gradient of {name}"] = parameter.grad
    optimizer.step()
    for name, value in module.state_dict().items():
        seen[f"state of {name}"] = value.detach().clone()
    return seen


def as_float64(data: Sequence[Batch]) -> list[Batch]:
    return [tuple(t.double() if t.is_floating_point() else t for t in batch) for batch in data]


Run = dict[str, torch.Tensor]


def judge(runs: Sequence[tuple[Run, Run, Run]]) -> None:
    """Outputs, gradients and state, each kind with a scale of its own."""
    for kind in {name.partition(" of ")[0] for name in runs[0][0]}:
        chosen = [
            tuple({n: t for n, t in run.items() if n.startswith(kind)} for run in three) for three in runs
        ]
        assert_as_accurate(chosen)  # type: ignore[arg-type]


class Masks:
    """Puts the masks that a compiled call draws after a seed into an eager module, in place of its dropout."""

    def __init__(self, module: nn.Module):
        self._module = module
        self._masks: Iterator[torch.Tensor] = iter(())
        self._asked: list[tuple[torch.Size, float]] = []
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.forward = lambda x, p=part.p: self._apply(x, p)  # type: ignore[method-assign, misc]

    def _apply(self, x: torch.Tensor, p: float) -> torch.Tensor:
        self._asked.append((x.shape, p))
        return x * next(self._masks, torch.ones(())).to(x.dtype)

    def draw(self, batch: Batch, seed: int) -> None:
        """Prepare the masks of a compiled call on `batch` after `torch.manual_seed(seed)`; keeps the module's state."""
        self._masks, self._asked = iter(()), []
        state = {name: value.clone() for name, value in self._module.state_dict().items()}
        with torch.no_grad():
            self._module(*batch)
        self._module.load_state_dict(state)
        asked = list(self._asked)
        if asked:
            torch.manual_seed(seed)
            draw = strictly(lambda: [F.dropout(torch.ones(shape), p) for shape, p in asked], "functional")
            self._masks = iter(draw())


def assert_trains_like_eager(name: str, backend: str, dynamic: bool) -> None:
    """Steps of SGD; each starts, in eager and in float64, from where the compiled module is."""
    module, eager, exact = (built(name, train=True) for _ in range(3))
    exact.double()
    masks = [Masks(eager), Masks(exact)]
    compiled = strictly(module, backend, dynamic)
    before = flambeau.counters["graphs"]
    runs = []
    for step, batch in enumerate(batches(name, dynamic)):
        wide = as_float64([batch])[0]
        for reference, mask, given in zip((eager, exact), masks, (batch, wide), strict=True):
            reference.load_state_dict(module.state_dict())
            own = flambeau.counters["graphs"]
            mask.draw(given, step)
            before += flambeau.counters["graphs"] - own
        torch.manual_seed(step)
        found = take_step(module, compiled, batch)
        runs.append((found, take_step(eager, eager, batch), take_step(exact, exact, wide)))
    assert flambeau.counters["graphs"] == before + 1, "one compilation for all batches"
    judge(runs)


def assert_infers_like_eager(name: str, backend: str, dynamic: bool, grad: bool) -> None:
    data = batches(name, dynamic)
    module = built(name, train=False)
    exact = built(name, train=False).double()
    compiled = strictly(module, backend, dynamic)
    before = flambeau.counters["graphs"]
    runs = []
    for batch, wide in zip(data, as_float64(data), strict=True):
        with torch.set_grad_enabled(grad):
            found, expected = compiled(*batch), module(*batch)
            truth = exact(*wide)
        assert found.stride() == expected.stride() and found.requires_grad == expected.requires_grad
        if backend == "imported":
            assert torch.equal(found, expected)
        runs.append(({"output": found.detach()}, {"output": expected.detach()}, {"output": truth.detach()}))
    assert flambeau.counters["graphs"] == before + 1, "one compilation for all batches"
    judge(runs)


# (model, rung) pairs whose compilation takes a second or two at most
_FAST = {("mlp", "cpu"), ("cnn-dropout", "cpu"), *((name, "partitioned") for name in MODELS)}


def matrix(names: Sequence[str], rungs: Sequence[str] = RUNGS) -> Any:
    """All models on all rungs, static and dynamic; what is not fast is slow."""
    return pytest.mark.parametrize(
        ("name", "backend", "dynamic"),
        [
            pytest.param(
                name,
                rung,
                dynamic,
                id=f"{name}-{rung}-{'dynamic' if dynamic else 'static'}",
                marks=() if (name, rung) in _FAST else pytest.mark.slow,
            )
            for name in names
            for rung in rungs
            for dynamic in (False, True)
        ],
    )


@matrix([name for name in MODELS if name != "cnn"])
def test_training(name: str, backend: str, dynamic: bool) -> None:
    if backend == "imported" and "dropout" in name:
        pytest.skip(
            "draws from PyTorch's generator, so there is no mask to inject; compared bit for bit elsewhere"
        )
    assert_trains_like_eager(name, backend, dynamic)


@matrix(["mlp", "cnn", "encoder", "decoder"])
@pytest.mark.parametrize("grad", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["no_grad", "grad"])
def test_inference(name: str, backend: str, dynamic: bool, grad: bool) -> None:
    assert_infers_like_eager(name, backend, dynamic, grad)


@pytest.mark.parametrize("name", MODELS)
def test_imported_rung_is_eager_bit_for_bit(name: str) -> None:
    """Random numbers included."""
    module, eager = built(name, train=True), built(name, train=True)
    compiled = strictly(module, "imported")
    for step, batch in enumerate(batches(name, dynamic=False)):
        torch.manual_seed(step)
        found = compiled(*batch)
        torch.manual_seed(step)
        assert torch.equal(found, eager(*batch))
    for (key, found), expected in zip(module.state_dict().items(), eager.state_dict().values(), strict=True):
        assert torch.equal(found, expected), key


# --- Other devices ---------------------------------------------------------------------------------------------------


def _missing(backend: str) -> str:
    try:
        find_device(lookup_backend(backend))
    except BackendNotAvailableError as error:
        return str(error)
    return ""


class _ArtefactMade(Exception):
    pass


@pytest.mark.parametrize(
    "name", ["mlp", *(pytest.param(n, marks=pytest.mark.slow) for n in MODELS if n != "mlp")]
)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_cuda_artefact_needs_no_device(name: str, dynamic: bool) -> None:
    """Forward and backward compile for NVIDIA GPUs on any machine."""
    cuda = lookup_backend("cuda")
    artefacts = []

    def compile_only(module: Any, signature: Any) -> Any:
        artefacts.append(compile_module(bytecode(module), cuda))
        raise _ArtefactMade

    recording = flambeau.Backend(
        "cuda-artefact", pipeline=cuda.pipeline, device="none", compile_fn=compile_only
    )
    compiled = flambeau.compile(built(name, train=True), backend=recording, fullgraph=True, dynamic=dynamic)
    with pytest.warns(flambeau.FlambeauWarning, match="cuda-artefact"):
        compiled(*batches(name, dynamic)[0])
    (artefact,) = artefacts
    assert artefact.vmfb and artefact.functions.keys() == {"forward", "backward"}


@pytest.mark.parametrize("name", ["mlp", pytest.param("cnn-dropout", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["vulkan", "cuda"])
def test_on_a_gpu(name: str, backend: str) -> None:
    reason = _missing(backend)
    if reason:
        pytest.skip(reason)
    assert_trains_like_eager(name, backend, dynamic=False)
    torch._dynamo.reset()
    assert_infers_like_eager(name, backend, dynamic=False, grad=False)
