# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains one network on scikit-learn's handwritten digits with one compiler, in a process of its own.

In: which compiler. Out, through a pipe: how long compiling took, then time, loss and test accuracy of each epoch.
"""

import multiprocessing
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

SEED = 0
BATCH = 64
COMPILERS = ("eager", "inductor", "flambeau")


class Network(nn.Module):
    """Images (N, 1, 8, 8) in 0..1 -> logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(64 * 4 * 4, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images))
        return logits


@dataclass(frozen=True)
class Images:
    """Images (N, 1, 8, 8), float32 in 0..1, with their labels (N,), int64."""

    images: torch.Tensor
    labels: torch.Tensor


def load_images() -> tuple[Images, Images]:
    """1,437 images to train with and 360 to test with."""
    pixels, labels = load_digits(return_X_y=True)
    split = train_test_split(pixels, labels, test_size=0.2, random_state=SEED, stratify=labels)
    train_x, test_x = (torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8) for x in split[:2])
    train_y, test_y = (torch.tensor(y) for y in split[2:])
    return Images(train_x, train_y), Images(test_x, test_y)


@dataclass(frozen=True)
class Epoch:
    """Seconds of training, mean loss per image, and accuracy (0..1) on the test images afterwards."""

    seconds: float
    loss: float
    accuracy: float


@dataclass
class Run:
    """What is known of one compiler's training so far; `failure` says why there is no more to come."""

    compiler: str
    compile_seconds: float | None = None
    epochs: list[Epoch] = field(default_factory=list)
    failure: str | None = None


class CompilerMissingError(Exception):
    """A compiler needs what this machine does not have; the message says what."""


def train_in_new_process(compiler: str, epochs: int, weights: Path) -> Iterator[Run]:
    """Train; yields the same Run whenever there is news. The trained weights go to the file `weights`."""
    run = Run(compiler)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(compiler, epochs, weights, sender))
    process.start()
    sender.close()
    yield run
    try:
        while (message := receiver.recv()) is not None:
            match message:
                case float():
                    run.compile_seconds = message
                case Epoch():
                    run.epochs.append(message)
                case str():
                    run.failure = message
            yield run
    except EOFError:
        process.join()
        run.failure = f"the process ended with exit code {process.exitcode}"
        yield run
    process.join()


def _train(compiler: str, epochs: int, weights: Path, sender: "Connection[Any, Any]") -> None:
    """The process: sends seconds of compilation, then an Epoch each, a text on failure, None at the end."""
    with tempfile.TemporaryDirectory() as empty:
        # Nothing that an earlier run has left on disk may shorten this compilation.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["FLAMBEAU_CACHE_DIR"] = empty
        try:
            for message in _training(compiler, epochs, weights):
                sender.send(message)
        except CompilerMissingError as error:
            sender.send(str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the other side reports it
            sender.send(traceback.format_exc())
        sender.send(None)


def _training(compiler: str, epochs: int, weights: Path) -> Iterator[float | Epoch]:
    compile_ = _compile_function(compiler)
    train, test = load_images()
    torch.manual_seed(SEED)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    order = torch.Generator().manual_seed(SEED)

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(network(images), labels)

    compiled_loss, compiled_network = compile_(loss_of), compile_(network)

    def accuracy() -> float:
        network.eval()
        with torch.no_grad():
            right = compiled_network(test.images).argmax(1) == test.labels
        network.train()
        return float(right.float().mean())

    # The first training step and the first prediction compile; what they change is undone.
    initial = {name: value.clone() for name, value in network.state_dict().items()}
    start = time.perf_counter()
    compiled_loss(train.images[:BATCH], train.labels[:BATCH]).backward()
    accuracy()
    yield 0.0 if compiler == "eager" else time.perf_counter() - start
    network.load_state_dict(initial)
    optimizer.zero_grad()
    torch.manual_seed(SEED)

    for _ in range(epochs):
        start = time.perf_counter()
        # All batches have the same size; the few images that are left over are others each time.
        batches = torch.randperm(len(train.labels), generator=order).split(BATCH)[:-1]
        losses = []
        for batch in batches:
            loss = compiled_loss(train.images[batch], train.labels[batch])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        seconds = time.perf_counter() - start
        yield Epoch(seconds, torch.stack(losses).mean().item(), accuracy())
    torch.save(network.state_dict(), weights)


def _compile_function(compiler: str) -> Callable[[Any], Any]:
    """What makes a function or module fast; importing the compiler is done here, so it is not timed."""
    if compiler == "eager":
        return lambda function: function
    if compiler == "inductor":
        cxx = os.environ.get("CXX", "g++")
        if shutil.which(cxx) is None:
            raise CompilerMissingError(
                f"needs a C++ compiler, and there is no {cxx!r}; install g++ or set CXX"
            )
        import torch._inductor.compile_fx

        return lambda function: torch.compile(function, backend="inductor", dynamic=False)
    import flambeau

    return lambda function: flambeau.compile(
        function, backend="cpu", dynamic=False, options={"fallback": "error"}
    )
