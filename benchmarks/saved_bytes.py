# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is saved for the backward: Flambeau's partitioners beside PyTorch's min-cut partitioner, as a table.

`python -m benchmarks.saved_bytes --page` writes docs/saved_bytes.md. One step of training, its loss included, of each
model; parameters and buffers are left out, which are in memory anyway.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor.decomposition import select_decomp_table
from torch.nn.attention import SDPBackend, sdpa_kernel

import flambeau
from benchmarks.models import MODELS
from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.frontend.calling.execution import functions_by_name
from flambeau.pipelines.partitioning.joint import Joint
from flambeau.pipelines.partitioning.partitioners import PARTITIONERS
from flambeau.pipelines.partitioning.recompute import Recomputation
from tests.models.model import Model

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "saved_bytes.md"
NAMES = ("gpt2", "bert", "vit", "resnet18")


@dataclass(frozen=True)
class Saved:
    """What one partitioner saves of one model: how many tensors, and their bytes."""

    tensors: int
    bytes: int


def measure(model: Model) -> dict[str, Saved]:
    """By column of the table: Flambeau's partitioners, and PyTorch's on the same ops and on inductor's."""
    return {
        **flambeau_saves(model),
        "pytorch": pytorch_saves(model, decompositions=None),
        "inductor": pytorch_saves(model, decompositions=select_decomp_table()),
    }


def flambeau_saves(model: Model) -> dict[str, Saved]:
    """What `min-cut` and `save-all` choose."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"fallback": "error", "dump": folder}
        torch._dynamo.reset()
        compiled = flambeau.compile(
            _trained(model), backend="partitioned", fullgraph=True, dynamic=False, options=options
        )
        _one_step(model, compiled)
        (joint,) = Path(folder).glob("*/*_join-slices.mlir")
        with create_context(), ir.Location.unknown():
            module = ir.Module.parse(joint.read_text())
            (function,) = functions_by_name(module).values()
            return {name: _saved(Joint(function), PARTITIONERS[name]) for name in ("min-cut", "save-all")}


def _saved(joint: Joint, choose_saved: Any) -> Saved:
    facts = Recomputation(joint)
    chosen = set(choose_saved(joint))
    held = [n for n, value in enumerate(facts.values) if value in chosen and not facts.outlives_call(n)]
    return Saved(len(held), sum(facts.bytes[n] for n in held))


def pytorch_saves(model: Model, decompositions: Any) -> Saved:
    """What PyTorch's min-cut partitioner saves, once for each piece of memory."""
    found: list[Saved] = []

    def partition(joint: fx.GraphModule, inputs: Any, *, num_fwd_outputs: int, **given: Any) -> Any:
        halves = min_cut_rematerialization_partition(joint, inputs, num_fwd_outputs=num_fwd_outputs, **given)
        arguments = [n.meta["val"] for n in joint.graph.nodes if n.op == "placeholder"]
        there_anyway = {_memory(arguments[i]) for i in given.get("static_lifetime_input_indices") or ()}
        (output,) = halves[0].graph.find_nodes(op="output")
        values = [node.meta.get("val") for node in output.args[0][num_fwd_outputs:]]
        tensors = {_memory(v): v for v in values if isinstance(v, torch.Tensor)}
        held = [tensor for memory, tensor in tensors.items() if memory not in there_anyway]
        found.append(Saved(len(held), sum(t.nbytes for t in held)))
        return halves

    backend = aot_autograd(
        fw_compiler=lambda graph, _: graph,
        bw_compiler=lambda graph, _: graph,
        partition_fn=partition,
        decompositions=decompositions,
    )
    torch._dynamo.reset()
    with sdpa_kernel(SDPBackend.MATH):  # attention as products and a softmax, which Flambeau makes of it
        _one_step(model, torch.compile(_trained(model), backend=backend, fullgraph=True, dynamic=False))
    (saved,) = found
    return saved


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _trained(model: Model) -> torch.nn.Module:
    return model.training(model.module(train=True))


def _one_step(model: Model, compiled: Any) -> None:
    (batch,) = model.batches((model.static_size,))
    compiled(batch)


def page(results: dict[str, dict[str, Saved]]) -> str:
    """The page with the table."""
    lines = [
        "# What is saved for the backward",
        "",
        "Megabytes (and tensors) that are kept between forward and backward in a step of training, parameters and",
        "buffers left out. Written by `python -m benchmarks.saved_bytes --page`; do not edit.",
        f"With torch {version('torch')}.",
        "",
        "| model | `save-all` | `min-cut` | PyTorch's min-cut, same ops | after inductor's decompositions |",
        "|---|---|---|---|---|",
    ]
    for name, row in results.items():
        cells = (row[column] for column in ("save-all", "min-cut", "pytorch", "inductor"))
        lines.append(f"| {' | '.join([name, *(f'{c.bytes / 1e6:.3f} ({c.tensors})' for c in cells)])} |")
    lines += [
        "",
        "All of them get the same function: the model and its loss, with attention as products and a softmax. In the",
        "last column PyTorch first takes its ops apart, as for inductor. ResNet-18 gains by it: the indices of its max",
        "pooling are bytes then, and batch norm is computed again from its statistics. `min-cut` does both as well.",
        "",
        "[partition.md](partition.md) says how values are chosen.",
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args(argv)
    text = page({name: measure(MODELS[name]) for name in NAMES})
    if given.page:
        PAGE.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
