# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CPU seconds that the passes of the pipeline `training` take, by size of the joint graph.

`python benchmarks/compile_time.py`. A chain of layers tanh(x @ w + b) on a dynamic batch, in text; IREE is not part of
it. One row per graph, one column per pass (with its verification). The third column says what an op costs: it stays
level as long as every pass is linear.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

from flambeau.dialects import build as b
from flambeau.dialects import create_context
from flambeau.dialects.bindings import func, ir
from flambeau.pipelines import functions as fn
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.pipelines import named_pipeline
from flambeau.pipelines.registry import load_passes

OPS_PER_LAYER = 13  # in the joint graph, after cse


def chain(layers: int) -> ir.Module:
    """The forward function of `layers` layers of width 16, a weight and a bias each; needs a context."""
    x, w, bias = (ir.Type.parse(f"tensor<{shape}xf32>") for shape in ("?x16", "16x16", "16"))
    module = ir.Module.create()
    with ir.InsertionPoint(module.body):
        function = func.FuncOp("graph", ([x, *[w, bias] * layers], [x]))
        block = function.add_entry_block()
    with ir.InsertionPoint(block):
        value, *parameters = block.arguments
        for weight, shift in zip(parameters[::2], parameters[1::2], strict=True):
            product = b.mm(value, weight)
            value = b.tanh(b.add(product, b.expand_to(shift, product)))
        func.ReturnOp([value])
    return module


def pass_times(module: ir.Module) -> Iterator[tuple[str, float, int]]:
    """Run the pipeline; for each pass its name, its seconds (with verification) and the ops after it."""
    found: list[tuple[str, float, int]] = []
    last = time.process_time()

    def record(index: int, name: str, module: ir.Module) -> None:
        nonlocal last
        seconds = time.process_time() - last
        found.append(
            (name, seconds, sum(len(fn.operations(fn.entry_block(f))) for f in fn.functions(module)))
        )
        last = time.process_time()

    run_pipeline(module, named_pipeline("training"), on_stage=record)
    yield from found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "sizes", nargs="*", type=int, default=[1000, 2000, 4000, 8000, 16000], help="ops of the joint graph"
    )
    sizes = parser.parse_args(argv).sizes
    load_passes()
    for position, size in enumerate(sizes):
        with create_context(), ir.Location.unknown():
            rows = list(pass_times(chain(size // OPS_PER_LAYER)))
        ops = next(count for name, _, count in reversed(rows) if name == "inline-calls")
        total = sum(seconds for _, seconds, _ in rows)
        if position == 0:
            print(
                "ops".rjust(8),
                "total".rjust(8),
                "us/op".rjust(8),
                *(name[:12].rjust(12) for name, _, _ in rows),
            )
        print(
            f"{ops:8}",
            f"{total:8.2f}",
            f"{1e6 * total / ops:8.0f}",
            *(f"{seconds:12.3f}" for _, seconds, _ in rows),
        )


if __name__ == "__main__":
    main()
