# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass convert-torch-to-flambeau: functions in the torch dialect, as torch-mlir writes them -> our dialect."""

from dataclasses import dataclass

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.pipelines.convert_torch_to_flambeau.function import convert_function
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class ConvertTorchToFlambeau:
    """Convert functions on `!torch.vtensor` to our dialect.

    An argument of type `!torch.tensor`, which the function may overwrite, becomes a reference. Two dynamic sizes count
    as equal where they provably are, and everywhere in a function marked `torch.assume_strict_symbolic_shapes`.
    """

    name = "convert-torch-to-flambeau"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            convert_function(function)
