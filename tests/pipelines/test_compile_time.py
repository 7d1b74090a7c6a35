# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The passes take time in proportion to the ops, and little of it."""

import pytest

from benchmarks.compile_time import OPS_PER_LAYER, chain, pass_times
from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.pipelines.registry import load_passes

pytestmark = pytest.mark.checkout


def seconds_of_training_pipeline(ops: int) -> float:
    """CPU seconds for a joint graph of about `ops` ops."""
    with create_context(), ir.Location.unknown():
        return sum(seconds for _, seconds, _ in pass_times(chain(ops // OPS_PER_LAYER)))


def test_training_pipeline_is_linear():
    load_passes()
    seconds_of_training_pipeline(100)  # imports
    small, large = (seconds_of_training_pipeline(ops) for ops in (1000, 4000))
    assert large < 5
    assert large < 8 * small, "four times the ops should take four times as long"


@pytest.mark.slow
def test_training_pipeline_of_16000_ops():
    load_passes()
    assert seconds_of_training_pipeline(16000) < 20
