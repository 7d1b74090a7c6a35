# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Context managers that keep a trace from being noticed: one at a time, thread state and generators as before."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._dynamo.convert_frame import compile_lock
from torch._dynamo.utils import _disable_saved_tensors_hooks_during_tracing
from torch._guards import TracingContext
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from flambeau.frontend.capture.records import UnsupportedGraphError


@contextmanager
def isolated() -> Iterator[None]:
    """One trace at a time (make_fx keeps global state), and none that changes the thread or a random generator.

    The lock is Dynamo's own: a backend is called with it held, so a second lock could be taken in the other order.
    """
    with compile_lock:
        before = _random_states()
        try:
            # A caller's saved-tensor hooks (activation checkpointing counts by them) are not for the trace's fakes.
            with (
                thread_state_restored(),
                _without_inference_mode(),
                _disable_saved_tensors_hooks_during_tracing(),
            ):
                yield
        finally:
            after = _random_states()
            drawn = any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
            if drawn:
                _set_random_states(before)
        if drawn:
            reason = "the graph seeds a random generator, or draws from one, outside of its ops"
            raise UnsupportedGraphError("random generator", None, reason)


@contextmanager
def thread_state_restored() -> Iterator[None]:
    """Restore grad mode and autocast: toggles inside a graph really run while it is traced."""
    grad_enabled = torch.is_grad_enabled()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    autocast = [
        (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in devices
    ]
    cache_enabled = torch.is_autocast_cache_enabled()
    nesting = torch.autocast_increment_nesting()
    try:
        yield
    finally:
        while torch.autocast_decrement_nesting() >= nesting:
            pass
        torch.set_autocast_cache_enabled(cache_enabled)
        for device, enabled, dtype in autocast:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_grad_enabled(grad_enabled)


@contextmanager
def _without_inference_mode() -> Iterator[None]:
    """Leave inference mode, as Dynamo does: in it, ops arrive at dispatch modes that hide what they write."""
    grad_enabled = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(grad_enabled):
        yield


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """No search for cyclic garbage: in a process that has loaded torch a full one takes as long as a warm start."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def as_current_fake_mode(context: TracingContext, fake_mode: FakeTensorMode) -> Iterator[None]:
    """Make `fake_mode` the one that torch finds in the tracing context: it refuses to mix two."""
    previous = context.fake_mode
    context.fake_mode = fake_mode
    try:
        yield
    finally:
        context.fake_mode = previous


def _random_states() -> list[torch.Tensor]:
    """The state of the CPU's generator, then of each CUDA device's where CUDA is in use."""
    with _disable_current_modes():
        on_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        return [torch.get_rng_state(), *on_cuda]


def _set_random_states(states: list[torch.Tensor]) -> None:
    with _disable_current_modes():
        torch.set_rng_state(states[0])
        for index, state in enumerate(states[1:]):
            torch.cuda.set_rng_state(state, index)
