# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The named pipelines: a literal table from name to passes. No MLIR import, so that help texts can read it fast.

`functional`, `partitioned`, ... are the stages of the debug backends of the same name; a target's pipeline goes on from
`partitioned` (or from `functional`, for inference) to what its compiler takes.
"""

from dataclasses import dataclass

__all__ = ["PIPELINES", "NamedPipeline", "named_pipeline"]


@dataclass(frozen=True)
class NamedPipeline:
    """Passes in order, as pipeline text, and one line of help."""

    passes: tuple[str, ...]
    help: str

    @property
    def text(self) -> str:
        """The pipeline as `--pass-pipeline` takes it."""
        return f"builtin.module({','.join(self.passes)})"


PIPELINES: dict[str, NamedPipeline] = {
    "imported": NamedPipeline((), "As imported: references and views are still there"),
    "functional": NamedPipeline(
        (
            "functionalize",  # writes become values and extra results
            "cse",  # equal views and loads became equal values
        ),
        "Values only: no references, no writes",
    ),
    "partitioned": NamedPipeline(
        (
            "functionalize",
            "decompose",  # composite ops without a VJP rule
            "cse",
            "autodiff",  # forward -> joint function
            "cse",  # rules build equal subexpressions
            "partition",  # joint -> @forward, @backward
        ),
        "Values only; a forward and a backward function",
    ),
    "inference": NamedPipeline(
        (
            "functionalize",
            "decompose",
            "cse",
            "lower-to-torch",
        ),
        "A forward function, to the torch dialect",
    ),
    "training": NamedPipeline(
        (
            "functionalize",
            "decompose",
            "cse",
            "autodiff",
            "cse",
            "partition",
            "cse",  # the halves, each for itself
            "lower-to-torch",
        ),
        "A forward function, to @forward and @backward in the torch dialect",
    ),
}


def named_pipeline(name: str) -> str:
    """The text of a named pipeline; KeyError with the valid names if there is none."""
    if name not in PIPELINES:
        raise KeyError(f"unknown pipeline {name!r}; valid: {', '.join(PIPELINES)}")
    return PIPELINES[name].text
