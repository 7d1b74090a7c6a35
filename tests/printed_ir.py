# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The printed IR of a fixed corpus at every stage, one file each: what a change of structure must leave as it is.

    python -m tests.printed_ir before     # on the tree as it was
    python -m tests.printed_ir after      # on the changed tree
    diff -r before after

The corpus is every op sample (with fixed and with dynamic sizes: the op, its gradient, its decomposition, its lowered
form) and the models of the tests (training: after each pass, and lowered). Locations are left out.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import flambeau
from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.stages import stage_passes
from tests.dialects.sample import Sample, single
from tests.dialects.samples import families
from tests.models import convolutional, other, small, transformers
from tests.models.model import Model

SAMPLE_STAGES = {
    "gradient": "autodiff",
    "second_gradient": "autodiff,cse,autodiff,cse",
    "partitioned": stage_passes("partitioned"),
    "decomposed": "decompose{before=lowering},cse",
    "lowered": stage_passes("lower-to-torch"),
}
MODEL_STAGES = {"split": stage_passes("split"), "lowered": stage_passes("lower-to-torch")}


def after(text: str, passes: str) -> str:
    """The module `text` after `passes`; the error's first line where they refuse it."""
    try:
        with create_context(), ir.Location.unknown():
            module = ir.Module.parse(text)
            run_pipeline(module, passes)
            return str(module)
    except Exception as error:  # noqa: BLE001  (a refusal is a result, too, and has to stay the same)
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def with_differentiable_arguments(text: str, sample: Sample) -> str:
    """Mark every float tensor of a sample's function as one that requires a gradient."""
    with create_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        function = module.body.operations[0]
        marks = [
            {"autograd.requires_grad": ir.UnitAttr.get()}
            if "xf" in str(a.type) or "tensor<f" in str(a.type)
            else {}
            for a in function.regions[0].blocks[0].arguments
        ]
        function.attributes["arg_attrs"] = ir.ArrayAttr.get([ir.DictAttr.get(m) for m in marks])
        return str(module)


def samples() -> Iterator[tuple[str, Callable[[], str]]]:
    """Name -> the imported form, for every sample, static and dynamic."""
    for family, members in families().items():
        for sample in members:
            for dynamic in (False, True) if sample.dynamic else (False,):

                def text(sample: Sample = sample, dynamic: bool = dynamic) -> str:
                    with create_context(), ir.Location.unknown():
                        module = single(sample, sample.values(), dynamic=dynamic)
                        return with_differentiable_arguments(str(module), sample)

                yield f"{family}/{sample}-{'dynamic' if dynamic else 'static'}".replace("/", "_"), text


def write_model(model: Model, folder: Path, dynamic: bool) -> None:
    """Train one step on the interpreter, and write what each pass made of the graph, and its lowered form."""
    module = model.module(train=True)
    step = model.training(module)
    with tempfile.TemporaryDirectory() as dump:
        torch.compiler.reset()
        compiled = flambeau.compile(step, backend="partitioned", dynamic=dynamic, options={"dump": dump})
        size = model.dynamic_sizes[0] if dynamic else model.static_size
        result = compiled(model.batches((size,))[0])
        first = next(t for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor))
        first.sum().backward()
        for file in sorted(Path(dump).rglob("*.mlir")):
            name = "_".join(file.relative_to(dump).with_suffix("").parts)
            (folder / f"{name}.mlir").write_text(after(file.read_text(), ""))
            if "partition" in name:
                for stage, passes in MODEL_STAGES.items():
                    (folder / f"{name}_{stage}.mlir").write_text(after(file.read_text(), passes))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for name, text in samples():
        place = folder / "samples" / name
        place.mkdir(parents=True, exist_ok=True)
        imported = text()
        (place / "imported.mlir").write_text(imported)
        for stage, passes in SAMPLE_STAGES.items():
            (place / f"{stage}.mlir").write_text(after(imported, passes))
    models = [*small.MODELS.values(), *convolutional.MODELS, *other.MODELS, *transformers.MODELS.values()]
    for model in models:
        for dynamic in (False, True):
            place = folder / "models" / f"{model.name}-{'dynamic' if dynamic else 'static'}"
            place.mkdir(parents=True, exist_ok=True)
            write_model(model, place, dynamic)


if __name__ == "__main__":
    main()
