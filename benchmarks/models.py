# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models in inference and training: eager PyTorch, inductor and Flambeau side by side in one process.

`python -m benchmarks.models`, from the root; `make bench` writes docs/performance.md from it. Each model and mode has
a process of its own, with empty caches: the first calls are cold. Values are checked before anything is timed. A result
counts only if the machine was quiet: see `verdict`.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tests.models import convolutional, other, small, transformers
from tests.models.model import Batch, Model, Noise
from tests.oracle import FLOOR, Tensors, tensors_in

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
MODES = ("inference", "training")
COMPILERS = ("eager", "inductor", "flambeau")

# A result is discarded if inductor beside itself is not within these bounds, or if eager takes longer to add a million
# numbers: then other processes had the cores, which slows PyTorch's thread pool far more than IREE's. (A quiet machine
# takes 0.04 to 0.2 ms; a stalled pool loses milliseconds.)
CONTROL = (0.9, 1.1)
MILLISECONDS_OF_ADD = 0.3

# Beyond this many times eager's own rounding error, values count as wrong, and nothing is timed. (The tests of models
# allow 2, over several batches.)
LARGEST_ERROR = 4

# --- The models, larger than in the tests ----------------------------------------------------------------------------


def _tokens(length: int) -> Callable[[int, torch.Generator], Batch]:
    def batch(size: int, generator: torch.Generator) -> Batch:
        ids = torch.randint(0, transformers.VOCABULARY, (size, length + 1), generator=generator)
        return Batch((ids[:, :-1],), (ids[:, 1:],))

    return batch


def _typed_tokens(length: int) -> Callable[[int, torch.Generator], Batch]:
    def batch(size: int, generator: torch.Generator) -> Batch:
        (ids,), (targets,) = _tokens(length)(size, generator)
        return Batch((ids, torch.zeros_like(ids), torch.ones_like(ids)), (targets,))

    return batch


def _pairs(length: int) -> Callable[[int, torch.Generator], Batch]:
    def batch(size: int, generator: torch.Generator) -> Batch:
        (source,), (target,) = _tokens(length)(size, generator)
        return Batch((source, target), (target,))

    return batch


def _images(side: int) -> Callable[[int, torch.Generator], Batch]:
    return lambda size, generator: convolutional.images_and_labels(size, generator, side=side)


def _masks(side: int) -> Callable[[int, torch.Generator], Batch]:
    def batch(size: int, generator: torch.Generator) -> Batch:
        images = torch.randn(size, 3, side, side, generator=generator)
        return Batch((images,), (torch.randint(0, 2, (size, side, side), generator=generator),))

    return batch


def _digits(size: int, generator: torch.Generator) -> Batch:
    images = torch.rand(size, 1, 28, 28, generator=generator)
    return Batch((images,), (images,))


def _vectors(size: int, generator: torch.Generator) -> Batch:
    return Batch((torch.randn(size, 256, generator=generator),))


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 1024), nn.GELU(), nn.Linear(1024, 10)
    )


def _sequences(size: int, generator: torch.Generator) -> Batch:
    steps = torch.randn(size, 8, 64, generator=generator)
    return Batch((steps,), (torch.randint(0, 10, (size,), generator=generator),))


_CLICKS = {"rows": (1000, 5000, 200), "width": 32, "dense": 13, "bottom": (128, 64), "top": (128, 64)}


def _clicks(size: int, generator: torch.Generator) -> Batch:
    numbers = torch.randn(size, 13, generator=generator)
    ids = torch.randint(0, 200, (size, 3, 4), generator=generator)
    return Batch((numbers, ids), (torch.rand(size, generator=generator),))


_LOSS = transformers.next_token_loss
_LAYERS = {"width": 256, "heads": 8, "layers": 4}

MODELS = {
    model.name: model
    for model in (
        Model("mlp", _mlp, _vectors, static_size=128),
        Model("gpt2", lambda: transformers.GPT2(**_LAYERS, length=128), _tokens(128), _LOSS, 2),
        Model("bert", lambda: transformers.Bert(**_LAYERS, length=128), _typed_tokens(128), _LOSS, 2),
        Model("vit", lambda: transformers.ViT(**_LAYERS, image=64, patch=8), _images(64), F.cross_entropy, 4),
        Model("llama", lambda: transformers.Llama(**_LAYERS, key_heads=2), _tokens(128), _LOSS, 2),
        Model("t5", lambda: transformers.T5(**{**_LAYERS, "layers": 2}), _pairs(64), _LOSS, 2),
        Model("resnet18", lambda: convolutional.ResNet18(classes=10), _images(64), F.cross_entropy, 2),
        Model("mobilenet", lambda: convolutional.MobileNet(classes=10), _images(96), F.cross_entropy, 2),
        Model("unet", lambda: convolutional.UNet(width=16, depth=3), _masks(64), F.cross_entropy, 2),
        Model("vae", convolutional.VAE, _digits, convolutional.vae_loss, 32),
        Model("dlrm", lambda: other.DLRM(**_CLICKS), _clicks, F.binary_cross_entropy_with_logits, 128),  # type: ignore[arg-type]
        Model("lstm-cell", other.CellLoop, _sequences, F.cross_entropy, 32),
        replace(small.MODELS["mlp"], name="tiny-mlp"),
    )
}

# --- One model and mode ----------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What is known of one model in one mode. Times are medians; `failures` say why a compiler has none.

    milliseconds: by compiler, and of inductor a second time ("control"). first_call: seconds of the first call, with
    compilation, less the time of a later one. add: milliseconds of adding a million numbers, before and after.
    error: by compiler, see error_ratio. checked: False if random numbers leave nothing to compare.
    """

    model: str
    mode: str
    spin: str
    milliseconds: dict[str, float] = field(default_factory=dict)
    first_call: dict[str, float] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)
    add: tuple[float, float] = (0.0, 0.0)
    checked: bool = True
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def control(self) -> float | None:
        """Inductor's time over its time as the control."""
        if "control" not in self.milliseconds:
            return None
        return self.milliseconds["inductor"] / self.milliseconds["control"]

    @property
    def verdict(self) -> str:
        """ "ok", or why the times say nothing."""
        if max(self.add) > MILLISECONDS_OF_ADD:
            return f"discard: an add took {max(self.add):.2f} ms"
        if self.control is not None and not CONTROL[0] <= self.control <= CONTROL[1]:
            return f"discard: inductor over inductor {self.control:.2f}"
        return "ok"

    def ratio(self, other: str) -> float | None:
        """How many times faster Flambeau is than another compiler."""
        if other not in self.milliseconds or "flambeau" not in self.milliseconds:
            return None
        return self.milliseconds[other] / self.milliseconds["flambeau"]


class Contender:
    """A copy of a model under one compiler: `call()` is one inference or one step of training."""

    def __init__(self, model: Model, module: nn.Module, batch: Batch, mode: str, compiler: str):
        self.module, self._batch, self._mode = module, batch, mode
        whole = model.training(module) if mode == "training" else module
        self._compiled = _compile(whole, compiler)
        self._optimizer = torch.optim.SGD(module.parameters(), 1e-6)

    def call(self) -> Any:
        """The output, or the loss."""
        if self._mode == "inference":
            with torch.no_grad():
                return self._compiled(*self._batch.inputs)
        self._optimizer.zero_grad()
        loss = self._compiled(self._batch)
        loss = loss if loss.dim() == 0 else loss.square().mean()
        loss.backward()
        self._optimizer.step()
        return loss

    def values(self) -> dict[str, torch.Tensor]:
        """Outputs and gradients of a call."""
        found = {f"output {i}": t.detach() for i, t in enumerate(tensors_in(self.call()))}
        if self._mode == "training":
            found |= {n: p.grad.clone() for n, p in self.module.named_parameters() if p.grad is not None}
        return found


def _compile(function: nn.Module, compiler: str) -> Callable[..., Any]:
    if compiler == "inductor":
        return torch.compile(function, dynamic=False, fullgraph=True)
    if compiler == "flambeau":
        import flambeau

        compiled: Callable[..., Any] = flambeau.compile(
            function, dynamic=False, fullgraph=True, options={"fallback": "error"}
        )
        return compiled
    return function


def measure(model: Model, mode: str, rounds: int, compilers: Sequence[str]) -> Result:
    """Check and time one model under eager and these compilers; call it in a fresh process."""
    result = Result(model.name, mode, os.environ.get("GOMP_SPINCOUNT", "default"))
    module = model.module(train=mode == "training")
    (batch,) = model.batches((model.static_size,))
    eager = Contender(model, deepcopy(module), batch, mode, "eager")
    exact = Contender(model, deepcopy(module).double(), batch.to(torch.float64), mode, "eager")
    random = any(isinstance(m, Noise) or (isinstance(m, nn.Dropout) and m.p > 0) for m in module.modules())
    result.checked = not (random and mode == "training")
    expected, truth = eager.values(), exact.values()
    contenders = {"eager": eager}
    for part in ("torch._inductor.compile_fx", "flambeau.frontend.compile"):
        import_module(part)  # which is not compiling
    for compiler in compilers:
        contender = Contender(model, deepcopy(module), batch, mode, compiler)
        start = time.perf_counter()
        try:
            values = contender.values()
            result.first_call[compiler] = time.perf_counter() - start
            if result.checked:
                result.error[compiler] = error_ratio(values, expected, truth)
                if not result.error[compiler] <= LARGEST_ERROR:
                    raise ValueError(
                        f"wrong values, {result.error[compiler]:.3g} times as far off as eager's"
                    )
        except Exception as error:  # noqa: BLE001 - whatever it is, the page says so
            result.failures[compiler] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        contenders[compiler] = contender
    if "inductor" in contenders:
        contenders["control"] = contenders["inductor"]
    before = milliseconds_of_add()
    result.milliseconds = interleaved({name: c.call for name, c in contenders.items()}, rounds)
    result.add = (before, milliseconds_of_add())
    for compiler in result.first_call.keys() & result.milliseconds.keys():
        result.first_call[compiler] -= result.milliseconds[compiler] / 1e3
    return result


def error_ratio(found: Tensors, eager: Tensors, exact: Tensors) -> float:
    """How far the values are from float64's, in errors of eager float32: that of the worst tensor.

    A tensor's error is relative to its largest element, or to that of all tensors if it is nothing but cancellation.
    """
    scale = max(_largest(t) for t in exact.values())
    ratios = []
    for name, want in exact.items():
        size = _largest(want)
        size = scale if size < FLOOR * scale else size
        ours, eagers = (
            _largest(tensor.double() - want) / (size or 1.0) for tensor in (found[name], eager[name])
        )
        ratios.append(ours / max(eagers, FLOOR / 2))
    return math.nan if any(map(math.isnan, ratios)) else max(ratios)


def _largest(tensor: torch.Tensor) -> float:
    return tensor.abs().max().item() if tensor.numel() else 0.0


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median milliseconds of each call; they take turns, so that a busy moment hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    repeat = {}
    for name, call in calls.items():
        for _ in range(3):
            start = time.perf_counter()
            call()
        repeat[name] = max(1, round(0.01 / max(time.perf_counter() - start, 1e-6)))
    names = list(calls)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            for _ in range(repeat[name]):
                calls[name]()
            times[name].append((time.perf_counter() - start) / repeat[name])
    return {name: 1e3 * statistics.median(found) for name, found in times.items()}


def milliseconds_of_add() -> float:
    """The median time of adding a million numbers in eager PyTorch."""
    a, b, out = (torch.ones(1_000_000) for _ in range(3))
    return interleaved({"add": lambda: torch.add(a, b, out=out)}, 20)["add"]


# --- All of them -----------------------------------------------------------------------------------------------------


def in_fresh_process(name: str, mode: str, rounds: int, spin: str, compilers: Sequence[str]) -> Result:
    """Measure in a process without anything in its caches. `spin`: GOMP_SPINCOUNT, or "default"."""
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {
            "TORCHINDUCTOR_CACHE_DIR": str(Path(empty, "inductor")),
            "FLAMBEAU_CACHE_DIR": str(Path(empty, "flambeau")),
        }
        environment.pop("GOMP_SPINCOUNT", None)
        if spin != "default":
            environment["GOMP_SPINCOUNT"] = spin
        flags = ["--mode", mode, "--rounds", str(rounds), "--compilers", *compilers, "--here"]
        command = [sys.executable, "-m", "benchmarks.models", name, *flags]
        process = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1800
        )
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        return Result(name, mode, spin, failures=dict.fromkeys(COMPILERS, last[0]))
    return Result(**json.loads(process.stdout.splitlines()[-1]))


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    names = [
        line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")
    ]
    packages = ("torch", "iree-base-compiler", "flambeau")
    return {
        "CPU": f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores",
        "threads of PyTorch": str(torch.get_num_threads()),
        **{package: version(package) for package in packages},
        "date": time.strftime("%Y-%m-%d"),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


# --- The page --------------------------------------------------------------------------------------------------------


def page(machine: Mapping[str, str], results: Sequence[Result]) -> str:
    """docs/performance.md."""
    return "\n".join(_page_lines(machine, results)) + "\n"


def _page_lines(machine: Mapping[str, str], results: Sequence[Result]) -> Iterator[str]:
    yield from (
        "# Performance",
        "",
        "Models in float32 on the CPU: eager PyTorch, inductor and Flambeau in one process, values checked first.",
        "Written by `make bench`; do not edit.",
        "",
        *(f"* {name}: {value}" for name, value in machine.items()),
        "",
        "Times are medians of calls that take turns. Ratios above 1: Flambeau is faster. A step of training is loss,",
        "backward and SGD. A first call is one in a fresh process with empty caches, compilation included. An error is",
        "that of outputs and gradients, against float64, in multiples of eager's own. A row is",
        "discarded if inductor measured twice differs by more than 10 %, or if eager needs over",
        f"{MILLISECONDS_OF_ADD:g} ms to add a million numbers: then other processes were at work, which slows",
        "PyTorch's threads far more than IREE's.",
    )
    for spin in dict.fromkeys(result.spin for result in results):
        for mode in MODES:
            chosen = [r for r in results if (r.spin, r.mode) == (spin, mode)]
            if chosen:
                yield from (
                    "",
                    f"## {mode.capitalize()}" + ("" if spin == "default" else f", GOMP_SPINCOUNT={spin}"),
                    "",
                )
                yield from _table(chosen)


def _table(results: Sequence[Result]) -> Iterator[str]:
    yield (
        "| model | eager, ms | inductor, ms | Flambeau, ms | over eager | over inductor | first call of inductor, s "
        "| of Flambeau, s | error | remark |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for r in results:
        times = [_number(r.milliseconds.get(c), "ms") for c in COMPILERS]
        ratios = [_number(r.ratio(c), "ratio") for c in ("eager", "inductor")]
        first = [_number(r.first_call.get(c), "s") for c in COMPILERS[1:]]
        error = _number(r.error.get("flambeau"), "ratio")
        yield f"| {' | '.join([r.model, *times, *ratios, *first, error, _remark(r)])} |"
    for compiler in ("eager", "inductor"):
        found = [ratio for r in results if r.verdict == "ok" and (ratio := r.ratio(compiler)) is not None]
        if found:
            mean = math.exp(statistics.fmean(map(math.log, found)))
            spread = f"worst {min(found):.2f}, best {max(found):.2f}"
            yield ""
            yield f"Over {compiler}: geometric mean {mean:.2f}, {spread}, of {len(found)} models."


def _remark(result: Result) -> str:
    remarks = [f"{compiler}: {why}" for compiler, why in result.failures.items()]
    if result.milliseconds and result.verdict != "ok":
        remarks.append(result.verdict)
    if not result.checked:
        remarks.append("random numbers: values not compared")
    return "; ".join(remarks).replace("|", "\\|")


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if unit == "ms" else f"{value:.2f}" if unit == "ratio" else f"{value:.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a line per result, and write what was asked for; 1 if a value is wrong or a model fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all if none is named"
    )
    parser.add_argument("--mode", choices=MODES, help="only this one")
    parser.add_argument("--rounds", type=int, default=30, help="how often each call is timed")
    parser.add_argument(
        "--compilers", nargs="+", choices=COMPILERS[1:], default=COMPILERS[1:], help="beside eager"
    )
    parser.add_argument(
        "--spin", nargs="+", default=["default"], help="GOMP_SPINCOUNT of further runs; default: as it is"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "benchmarks" / "models.json")
    parser.add_argument("--page", type=Path, help=f"write the page, for example {PAGE.relative_to(ROOT)}")
    parser.add_argument("--here", action="store_true", help="in this process; prints JSON")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.models if name not in MODELS]:
        parser.error(f"unknown model {unknown[0]!r}; valid: {', '.join(MODELS)}")
    modes = (given.mode,) if given.mode else MODES
    if given.here:
        for name in given.models:
            for mode in modes:
                print(json.dumps(asdict(measure(MODELS[name], mode, given.rounds, given.compilers))))
        return 0
    results = []
    for spin in given.spin:
        for name in given.models or MODELS:
            for mode in modes:
                result = in_fresh_process(name, mode, given.rounds, spin, given.compilers)
                results.append(result)
                times = ", ".join(f"{c} {ms:.3g} ms" for c, ms in result.milliseconds.items())
                print(
                    f"{name} {mode} {spin}: {times or 'no times'} [{result.verdict}] {_remark(result)}",
                    flush=True,
                )
                given.json.parent.mkdir(parents=True, exist_ok=True)
                document = {"machine": machine(), "results": [asdict(r) for r in results]}
                given.json.write_text(json.dumps(document, indent=1))
    if given.page:
        given.page.write_text(page(machine(), results))
    return int(any("flambeau" in result.failures for result in results))


if __name__ == "__main__":
    sys.exit(main())
