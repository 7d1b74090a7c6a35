# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The named pipelines: a literal table from name to passes. No MLIR import, so that help texts can read it fast.

`functional`, `partitioned`, ... are the stages of the debug backends of the same name; a target's pipeline goes on from
`partitioned` (or from `functional`, for inference) to what its compiler takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PIPELINES", "STAGES", "NamedPipeline", "named_pipeline", "stage_passes"]


@dataclass(frozen=True)
class NamedPipeline:
    """Passes in order, as pipeline text, and one line of help."""

    passes: tuple[str, ...]
    help: str

    @property
    def text(self) -> str:
        """The pipeline as `--pass-pipeline` takes it."""
        return f"builtin.module({','.join(self.passes)})"


_FUNCTIONAL = (
    "functionalize",  # writes become values and extra results
    "cse",  # equal views and loads became equal values
)
_FORWARD = (
    "promote-half",
    "inline-calls",
    "simplify-sizes",
    "partition",  # no tangents: @forward alone
    "cse",
)
_PARTITIONED = (
    "promote-half",  # f16 and bf16 are computed in f32, by the derivatives too
    "decompose",  # composite ops without a VJP rule
    "cse",
    "autodiff",  # forward -> joint function
    "inline-calls",  # bodies of custom autograd functions
    "decompose{before=partition}",  # batch norm: saved are its statistics
    "narrow-positions",  # indices of maxima and the like: saved in fewer bytes
    "simplify-sizes",  # rules ask every tensor for its sizes
    "cse",  # and build equal subexpressions
    "join-slices",  # gradients of split tensors
    "partition",  # joint -> @forward, @backward
    "cse",  # the halves, each for itself
)
_GRADIENTS = (
    *_PARTITIONED[: _PARTITIONED.index("autodiff") + 1],
    "keep-gradients",  # joint -> what can be differentiated again
    "inline-calls",
    *_PARTITIONED[_PARTITIONED.index("simplify-sizes") : _PARTITIONED.index("partition")],
    "symbol-dce",  # what ran on the host for the outputs alone
)
_SPLIT = (
    "decompose{before=lowering}",  # what is split off should be small
    "cse",
    "split",  # what cannot be compiled -> the host
)
_BEFORE_LOWERING = (
    "decompose{before=lowering}",  # ops that the lowering has no rule for
    "simplify-reductions",  # of what is the same everywhere, and of negations
    "simplify-sizes",
    "cse",
)
_KERNELS = (
    *_BEFORE_LOWERING,
    "form-kernels",  # what is computed together, and nothing else with it
)
_LOWER_TO_TORCH = (
    *_KERNELS,
    "lower-to-torch",
    "cse",  # constants
)
_DEPLOYMENT = (
    *_KERNELS,
    "lower-to-torch{keep-facts=true}",
    "cse",
    "externalize-parameters",  # weights become an archive's, results are the outputs alone
)

# From one stage to the next; the debug backends stop between them.
STAGES: dict[str, tuple[str, ...]] = {
    "functional": _FUNCTIONAL,
    "forward": _FORWARD,
    "partitioned": _PARTITIONED,
    "gradients": _GRADIENTS,
    "split": _SPLIT,
    "kernels": _KERNELS,
    "lower-to-torch": _LOWER_TO_TORCH,
    "deployment": _DEPLOYMENT,
}

PIPELINES: dict[str, NamedPipeline] = {
    "imported": NamedPipeline((), "As imported: references and views are still there"),
    "functional": NamedPipeline(_FUNCTIONAL, "Values only: no references, no writes"),
    "partitioned": NamedPipeline(
        _FUNCTIONAL + _PARTITIONED, "Values only; a forward and a backward function"
    ),
    "gradients": NamedPipeline(
        _FUNCTIONAL + _GRADIENTS, "Values only; the gradients as a function that can be differentiated again"
    ),
    "inference": NamedPipeline(
        _FUNCTIONAL + _FORWARD + _LOWER_TO_TORCH, "A forward function, to the torch dialect"
    ),
    "deployment": NamedPipeline(
        _FUNCTIONAL + _FORWARD + _DEPLOYMENT,
        "A forward function, to the torch dialect; its weights come from an archive",
    ),
    "training": NamedPipeline(
        _FUNCTIONAL + _PARTITIONED + _LOWER_TO_TORCH,
        "A forward function, to @forward and @backward in the torch dialect",
    ),
}


def stage_passes(name: str, instead: Mapping[str, str] | None = None) -> str:
    """The passes from the stage before `name` to `name`, as pipeline text.

    `instead`: pass name -> the text that takes its place. KeyError with the valid names if there is no such stage.
    """
    if name not in STAGES:
        raise KeyError(f"unknown stage {name!r}; valid: {', '.join(STAGES)}")
    given = instead or {}
    return ",".join(given.get(item, item) for item in STAGES[name])


def named_pipeline(name: str) -> str:
    """The text of a named pipeline; KeyError with the valid names if there is none."""
    if name not in PIPELINES:
        raise KeyError(f"unknown pipeline {name!r}; valid: {', '.join(PIPELINES)}")
    return PIPELINES[name].text
