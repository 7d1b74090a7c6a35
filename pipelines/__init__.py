# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is done to IR: one file per pass, the registry of passes, the named pipelines and the driver that runs them."""

# The modules of this package that declare passes; `registry.load_passes` imports them. A pass file adds one line.
PASS_MODULES: tuple[str, ...] = (
    "convert_torch_to_flambeau",
    "passes.force_eager",
    "passes.functionalize",
    "passes.promote_half",
    "passes.decompose",
    "passes.autodiff",
    "passes.keep_gradients",
    "passes.inline_calls",
    "passes.simplify_sizes",
    "passes.join_slices",
    "partitioning.partition",
    "passes.narrow_positions",
    "passes.narrow_saved",
    "passes.split",
    "passes.simplify_reductions",
    "passes.form_kernels",
    "passes.schedule_kernels",
    "passes.lower_kernels",
    "lower_to_torch",
    "passes.externalize_parameters",
)
