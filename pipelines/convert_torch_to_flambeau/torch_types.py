# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Types and literals of the torch dialect -> builtin ones: `!torch.vtensor<[2,?],si64>` -> `tensor<2x?xi64>`."""

import re

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import DTYPES, DYNAMIC, element_type, is_bool, tensor_type
from flambeau.pipelines.lower_to_torch.torch_builder import SCALAR_TYPES, element_text

_TENSOR = re.compile(r"!torch\.v?tensor<\[([\d,?]*)\],([^>]+(?:<\w+>)?)>")
_RESOURCE = re.compile(r'"0x([0-9A-Fa-f]*)"')


def is_torch_tensor(type_: ir.Type) -> bool:
    """Whether a type is `!torch.vtensor` or `!torch.tensor`, with or without sizes."""
    return str(type_).startswith(("!torch.vtensor", "!torch.tensor"))


def is_place(type_: ir.Type) -> bool:
    """Whether a type is `!torch.tensor`, which may be written."""
    return str(type_).startswith("!torch.tensor")


def builtin_tensor(type_: ir.Type) -> ir.RankedTensorType:
    """The builtin type of a torch dialect tensor; TypeError unless its rank and element type are known."""
    match = _TENSOR.fullmatch(str(type_))
    if match is None:
        raise TypeError(f"{type_} does not say rank and element type")
    sizes, element = match.groups()
    shape = [DYNAMIC if s == "?" else int(s) for s in sizes.split(",")] if sizes else []
    return tensor_type(shape, _element(element))


def _element(text: str) -> ir.Type:
    for name in DTYPES:
        if element_text(element_type(name)) == text:
            return element_type(name)
    valid = ", ".join(element_text(element_type(name)) for name in DTYPES)
    raise TypeError(f"element type {text} is not supported; there are: {valid}")


def scalar_type(number: int) -> ir.Type:
    """The element type of a dtype number."""
    for name, known in SCALAR_TYPES.items():
        if known == number:
            return element_type(name)
    valid = ", ".join(f"{known} ({name})" for name, known in SCALAR_TYPES.items())
    raise TypeError(f"dtype number {number} is not supported; there are: {valid}")


def dense_literal(value: ir.Attribute, type_: ir.RankedTensorType) -> ir.Attribute:
    """The dense elements of a literal, whose own type may say `si64`, as an attribute of `type_`."""
    element, shape = type_.element_type, list(type_.shape)
    if isinstance(value, ir.DenseElementsAttr):
        if value.type == type_:
            return value
        if value.is_splat:
            splat = ir.IntegerAttr.get(element, value.get_splat_value().value)
            return ir.DenseElementsAttr.get_splat(type_, splat)
        return ir.DenseElementsAttr.get(memoryview(value).tobytes(), type=element, shape=shape)
    data = _resource_bytes(value)
    if is_bool(element) and len(data) == 1:  # a single byte would be read as packed bits
        return ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(element, data[0]))
    return ir.DenseElementsAttr.get(data, type=element, shape=shape)


def _resource_bytes(value: ir.Attribute) -> bytes:
    """What a `dense_resource` holds. The bindings give no access to it, but printing does."""
    holder = ir.Module.create()
    holder.operation.attributes["torch.value"] = value
    match = _RESOURCE.search(holder.operation.get_asm())
    if match is None:
        raise TypeError(f"literal {value} has no data in this module")
    return bytes.fromhex(match.group(1))[4:]  # the first four bytes say the alignment
