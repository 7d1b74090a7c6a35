# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is done to IR: one file per pass, the registry of passes, the named pipelines and the driver that runs them."""

# The modules of this package that declare passes; `registry.load_passes` imports them. A pass file adds one line.
PASS_MODULES: tuple[str, ...] = (
    "convert_torch_to_flambeau",
    "force_eager",
    "functionalize",
    "promote_half",
    "decompose",
    "autodiff",
    "keep_gradients",
    "inline_calls",
    "simplify_sizes",
    "join_slices",
    "partition",
    "narrow_positions",
    "narrow_saved",
    "split",
    "passes.schedule_kernels",
    "passes.lower_kernels",
    "lower_to_torch",
    "externalize_parameters",
)
