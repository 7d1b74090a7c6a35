# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled models beside eager: inference and steps of training, judged against float64; artefacts for CUDA."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import cycle, islice
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

import flambeau
from flambeau.frontend.calling.execution import bytecode
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.errors import BackendNotAvailableError
from flambeau.runtime.iree.compiler import compile_module
from tests.models.model import Batch, Model, Noise
from tests.oracle import assert_as_accurate, weights_like

Optimizer = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]
Run = dict[str, torch.Tensor]

STEPS = 3


def sgd(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Plain gradient descent: the state after a step shows the gradients."""
    return torch.optim.SGD(parameters, 0.1)


def strictly(function: Any, backend: str = "cpu", dynamic: bool = False) -> Callable[..., Any]:
    """`function` compiled as one graph, with nothing left to eager."""
    compiled: Callable[..., Any] = flambeau.compile(
        function, backend=backend, fullgraph=True, dynamic=dynamic, options={"fallback": "error"}
    )
    return compiled


def batches(model: Model, dynamic: bool, count: int = STEPS) -> list[Batch]:
    """One batch for each step."""
    sizes = model.dynamic_sizes if dynamic else (model.static_size,)
    return model.batches(tuple(islice(cycle(sizes), count)))


def take_step(
    module: nn.Module, call: Callable[..., torch.Tensor], batch: Batch, optimizer: torch.optim.Optimizer
) -> Run:
    """One step of training: the output, gradients and the state afterwards, by name."""
    optimizer.zero_grad()
    output = call(batch)
    output.backward(weights_like(output) / output.numel() if output.dim() else None)
    seen = {"output": output.detach()}
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        seen[f"gradient of {name}"] = parameter.grad.clone()
    optimizer.step()
    for name, value in module.state_dict().items():
        seen[f"state of {name}"] = value.detach().clone()
    return seen


def judge(runs: Sequence[tuple[Run, Run, Run]]) -> None:
    """Outputs, gradients and state, each kind with a scale of its own."""
    for kind in {name.partition(" of ")[0] for name in runs[0][0]}:
        chosen = [
            tuple({n: t for n, t in run.items() if n.startswith(kind)} for run in three) for three in runs
        ]
        assert_as_accurate(chosen)  # type: ignore[arg-type]


class Draws:
    """Puts what a compiled call draws after a seed (dropout masks, noise) into an eager module, in place of its own."""

    def __init__(self, module: nn.Module):
        self._module = module
        self._drawn: Iterator[torch.Tensor] = iter(())
        self._asked: list[tuple[Callable[[torch.Size], torch.Tensor], torch.Size]] = []
        self._draws = False
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.forward = partial(self._drop, p=part.p)  # type: ignore[method-assign]
            elif isinstance(part, Noise):
                part.forward = partial(self._next, torch.randn)  # type: ignore[method-assign]
            else:
                continue
            self._draws = True

    def _drop(self, x: torch.Tensor, p: float) -> torch.Tensor:
        return x * self._next(lambda shape: F.dropout(torch.ones(shape), p), x)

    def _next(self, draw: Callable[[torch.Size], torch.Tensor], like: torch.Tensor) -> torch.Tensor:
        self._asked.append((draw, like.shape))
        return next(self._drawn, torch.ones(())).to(like.dtype)

    def prepare(self, batch: Batch, seed: int) -> None:
        """Draw as a compiled call on `batch` after `torch.manual_seed(seed)` does; keeps the module's state."""
        if not self._draws:
            return
        self._drawn, self._asked = iter(()), []
        state = {name: value.clone() for name, value in self._module.state_dict().items()}
        with torch.no_grad():
            self._module(*batch.inputs)
        self._module.load_state_dict(state)
        asked = list(self._asked)
        if asked:
            torch.manual_seed(seed)
            draw = strictly(lambda: [draw(shape) for draw, shape in asked], "functional")
            self._drawn = iter(draw())


def assert_trains_like_eager(
    model: Model, backend: str = "cpu", dynamic: bool = False, optimizer: Optimizer = sgd
) -> None:
    """Steps of training; each starts, in eager and in float64, from where the compiled module is.

    Where a number lies so near to a kink (the 0 of a ReLU, two equal maxima) that rounding decides on which side of it,
    eager's error is luck: it may be on the right side, and on another CPU on the wrong one. So if ours is larger, eager
    is asked again, by other kernels of its own and with parameters that differ in their last bit, and the largest of
    its errors counts.
    """
    module, eager, exact = (model.module(train=True) for _ in range(3))
    exact.double()
    draws = [Draws(eager), Draws(exact)]
    compiled = strictly(model.training(module), backend, dynamic)
    optimizers = [optimizer(list(m.parameters())) for m in (module, eager, exact)]
    before = flambeau.counters["graphs"]
    runs = []
    starts = []
    for step, batch in enumerate(batches(model, dynamic, model.steps)):
        wide = batch.to(torch.float64)
        starts.append((step, batch, deepcopy(module.state_dict()), deepcopy(optimizers[0].state_dict())))
        for reference, own, given in zip((eager, exact), draws, (batch, wide), strict=True):
            reference.load_state_dict(module.state_dict())
            graphs = flambeau.counters["graphs"]
            own.prepare(given, step)
            before += flambeau.counters["graphs"] - graphs
        for other in optimizers[1:]:
            other.load_state_dict(deepcopy(optimizers[0].state_dict()))
        torch.manual_seed(step)
        found = take_step(module, compiled, batch, optimizers[0])
        expected = take_step(eager, model.training(eager), batch, optimizers[1])
        runs.append((found, expected, take_step(exact, model.training(exact), wide, optimizers[2])))
    assert flambeau.counters["graphs"] == before + 1, "one compilation for all batches"
    try:
        judge(runs)
    except AssertionError:
        judge(
            [
                *runs,
                *(
                    (run[1], other, run[2])
                    for run, start in zip(runs, starts, strict=True)
                    for other in _other_steps(model, eager, draws[0], optimizers[1], *start)
                ),
            ]
        )


def _other_steps(
    model: Model,
    eager: nn.Module,
    draws: Draws,
    optimizer: torch.optim.Optimizer,
    step: int,
    batch: Batch,
    state: dict[str, Any],
    optimizer_state: dict[str, Any],
) -> Iterator[Run]:
    """A step of eager by its own kernels instead of oneDNN's, and some from parameters changed in their last bit."""
    for number in range(4):
        eager.load_state_dict(state)
        optimizer.load_state_dict(deepcopy(optimizer_state))
        with torch.no_grad():
            for parameter in eager.parameters() if number else ():
                towards = torch.full_like(parameter, float("inf")) * torch.randn_like(parameter).sign()
                parameter.copy_(torch.nextafter(parameter, towards))
        draws.prepare(batch, step)
        with torch.backends.mkldnn.flags(enabled=number > 0):
            yield take_step(eager, model.training(eager), batch, optimizer)


def assert_infers_like_eager(
    model: Model, backend: str = "cpu", dynamic: bool = False, grad: bool = False
) -> None:
    """Evaluation, with gradients recorded or not."""
    module = model.module(train=False)
    exact = model.module(train=False).double()
    compiled = strictly(module, backend, dynamic)
    before = flambeau.counters["graphs"]
    runs = []
    for batch in batches(model, dynamic):
        with torch.set_grad_enabled(grad):
            found, expected = compiled(*batch.inputs), module(*batch.inputs)
            truth = exact(*batch.to(torch.float64).inputs)
        three = [_named_outputs(tree) for tree in (found, expected, truth)]
        for name, output in three[0].items():
            wanted = three[1][name]
            assert output.stride() == wanted.stride() and output.requires_grad == wanted.requires_grad
            if backend == "imported":
                assert torch.equal(output, wanted)
        runs.append(tuple({name: t.detach() for name, t in run.items()} for run in three))
    assert flambeau.counters["graphs"] == before + 1, "one compilation for all batches"
    judge(runs)


def _named_outputs(tree: Any) -> Run:
    return {f"output {i}" if i else "output": t for i, t in enumerate(pytree.tree_leaves(tree))}


def assert_imported_is_eager(model: Model) -> None:
    """At the first debug stage training is eager's bit for bit, random numbers included."""
    module, eager = model.module(train=True), model.module(train=True)
    compiled, reference = strictly(model.training(module), "imported"), model.training(eager)
    for step, batch in enumerate(batches(model, dynamic=False)):
        torch.manual_seed(step)
        found = compiled(batch)
        torch.manual_seed(step)
        assert torch.equal(found, reference(batch))
    for (key, found), expected in zip(module.state_dict().items(), eager.state_dict().values(), strict=True):
        assert torch.equal(found, expected), key


# --- Other devices ---------------------------------------------------------------------------------------------------


def skip_without_device(backend: str) -> None:
    """Skip the test that runs where the backend has no device."""
    try:
        find_device(lookup_backend(backend))
    except BackendNotAvailableError as error:
        pytest.skip(str(error))


class _ArtefactMade(Exception):
    pass


def assert_compiles_for_cuda(model: Model, dynamic: bool = False) -> None:
    """Forward and backward compile for NVIDIA GPUs on any machine."""
    cuda = lookup_backend("cuda")
    artefacts = []

    def compile_only(module: Any, signature: Any) -> Any:
        artefacts.append(compile_module(bytecode(module), cuda))
        raise _ArtefactMade

    recording = flambeau.Backend(
        "cuda-artefact", pipeline=cuda.pipeline, device="none", compile_fn=compile_only
    )
    training = model.training(model.module(train=True))
    compiled = flambeau.compile(training, backend=recording, fullgraph=True, dynamic=dynamic)
    with pytest.warns(flambeau.FlambeauWarning, match="cuda-artefact"):
        compiled(batches(model, dynamic)[0])
    (artefact,) = artefacts
    assert artefact.vmfb and artefact.functions.keys() == {"forward", "backward"}
