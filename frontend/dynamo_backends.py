# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The entry points of torch.compile: `backend="flambeau"`, `"flambeau_cpu"`, ... with `options=` and `mode=`.

Each takes TorchDynamo's graph and example inputs and returns a callable. `flambeau` picks the backend by the inputs'
device.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from flambeau.frontend.compile import compile_graph
from flambeau.frontend.options import read_options
from flambeau.runtime.backends import lookup_backend

DynamoBackend = Callable[..., Callable[..., Any]]


def _named(name: str) -> DynamoBackend:
    def backend(
        gm: fx.GraphModule,
        example_inputs: Sequence[Any],
        *,
        mode: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Callable[..., Any]:
        return compile_graph(gm, example_inputs, lookup_backend(name), read_options(options, mode))

    backend.__name__ = f"flambeau_{name}"
    return backend


def flambeau(
    gm: fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """The backend of the device that the first tensor input lies on: `cuda` for a CUDA tensor, else `cpu`."""
    devices = [value.device.type for value in example_inputs if isinstance(value, torch.Tensor)]
    backend = lookup_backend("cuda" if "cuda" in devices else "cpu")
    return compile_graph(gm, example_inputs, backend, read_options(options, mode))


flambeau_cpu = _named("cpu")
flambeau_vulkan = _named("vulkan")
flambeau_cuda = _named("cuda")
flambeau_imported = _named("imported")
flambeau_functional = _named("functional")
flambeau_partitioned = _named("partitioned")
