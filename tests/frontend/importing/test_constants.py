# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors that become constants of the module: element by element what they were."""

import pytest
import torch

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.dialects.types import element_type, tensor_type
from flambeau.frontend.importing.importer import dense
from flambeau.runtime.interpreter import dense_to_tensor

TENSORS = {
    "few bools": torch.tensor([True, False, True]),
    "many bools": torch.arange(23) % 3 == 0,
    "one bool": torch.tensor(True),
    "no bools": torch.zeros(0, dtype=torch.bool),
    "equal bools": torch.ones(2, 3, dtype=torch.bool),
    "uint8": torch.tensor([0, 200], dtype=torch.uint8),
    "int64": torch.tensor([[1, -(2**40)], [3, 4]]),
    "bfloat16": torch.tensor([1.5, -2.0, float("inf")], dtype=torch.bfloat16),
    "float16": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "float64": torch.tensor([0.1, float("-inf")], dtype=torch.float64),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_constant_is_the_tensor(name: str) -> None:
    tensor = TENSORS[name]
    with create_context(), ir.Location.unknown():
        element = element_type(str(tensor.dtype).removeprefix("torch."))
        holder = ir.Module.create().operation
        holder.attributes["test.value"] = dense(tensor, tensor_type(list(tensor.shape), element))
        found = dense_to_tensor(holder.attributes["test.value"])
    assert found.dtype == tensor.dtype
    assert torch.equal(found, tensor)
