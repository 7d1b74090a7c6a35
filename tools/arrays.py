# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays on the command line: `x.npy` or `2x3xf32=1 2 3 4 5 6` in, printed text, .npy files and comparisons out."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes  # makes bfloat16 a dtype of numpy's
import numpy

__all__ = ["check_argument", "difference", "format_value", "numpy_dtype", "parse_input", "save"]

# MLIR's spelling of element types.
_DTYPES = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "i1": "bool",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "ui8": "uint8",
}
_SHAPED = re.compile(r"(?P<shape>(?:\d+x)*)(?P<type>[a-z]+\d+)(?:=(?P<values>.*))?", re.DOTALL)
_TENSOR = re.compile(
    r"tensor<(?P<shape>(?:[\d?]+x)*)(?P<type>\w+)>|!torch\.vtensor<\[(?P<dims>[\d?,]*)\],(?P<torch>\w+)>"
)


def numpy_dtype(element: str) -> str:
    """numpy's name of an MLIR element type; signed integers may say so. ValueError for another type."""
    name = element.removeprefix("s")
    if name not in _DTYPES:
        raise ValueError(f"there are no arrays of {element}; types: {', '.join(_DTYPES)}")
    return _DTYPES[name]


def parse_input(text: str) -> Any:
    """A .npy file, `SHAPExTYPE=VALUES` (one value for all elements, or all; none: zeros), or a plain integer, a size.

    ValueError, which says what may be written, for anything else.
    """
    if text.endswith(".npy"):
        try:
            return numpy.load(text, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"input {text!r}: {error}") from error
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    match = _SHAPED.fullmatch(text)
    if match is None or match["type"] not in _DTYPES:
        raise ValueError(
            f"input {text!r} is neither a .npy file, nor an integer, nor SHAPExTYPE=VALUES such as 2x3xf32=0 or "
            f"3xi64=1,2,3; types: {', '.join(_DTYPES)}"
        )
    shape = [int(size) for size in match["shape"].split("x") if size]
    dtype = numpy.dtype(_DTYPES[match["type"]])
    words = (match["values"] or "0").replace(",", " ").replace("[", " ").replace("]", " ").split()
    values = [_number(word, dtype, text) for word in words]
    if len(values) == 1:
        return numpy.full(shape, values[0], dtype)
    try:
        return numpy.array(values, dtype).reshape(shape)
    except ValueError:
        count = int(numpy.prod(shape))
        raise ValueError(
            f"input {text!r} has {len(values)} values, where 1 or {count} are expected"
        ) from None


def _number(word: str, dtype: Any, text: str) -> Any:
    try:
        if numpy.issubdtype(dtype, numpy.bool_):
            return {"0": False, "1": True, "false": False, "true": True}[word]
        return dtype.type(int(word) if numpy.issubdtype(dtype, numpy.integer) else float(word))
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"input {text!r}: {word!r} is not a {dtype} number") from None


def check_argument(what: str, type_: str, value: Any) -> None:
    """ValueError if `value` is not of the MLIR type `type_`: a tensor, or an integer for sizes."""
    match = _TENSOR.fullmatch(type_)
    if match is None:
        if type_ not in ("index", "i64", "!torch.int"):
            raise ValueError(f"{what} is {type_}, which the command line cannot give")
        if not isinstance(value, int):
            raise ValueError(f"{what} is an integer, got an array of shape {list(numpy.shape(value))}")
        return
    dims = [d for d in (match["shape"] or "").split("x") + (match["dims"] or "").split(",") if d]
    dtype = numpy_dtype(match["type"] or match["torch"])
    found = f"{getattr(value, 'dtype', 'int')} {list(numpy.shape(value))}"
    same_sizes = len(dims) == numpy.ndim(value) and all(
        d in ("?", str(size)) for d, size in zip(dims, numpy.shape(value), strict=True)
    )
    if isinstance(value, int) or value.dtype != dtype or not same_sizes:
        raise ValueError(f"{what} is {dtype} [{', '.join(dims)}], got {found}")


def format_value(index: int, value: Any) -> str:
    """A result as text: its number, dtype and shape, then its values."""
    if isinstance(value, int):
        return f"result {index}: int\n{value}"
    return f"result {index}: {value.dtype} {list(value.shape)}\n{value}"


def difference(value: Any, expected: Any, tolerance: float) -> str:
    """How a result differs from what was expected, empty if it does not.

    Floats differ by more than `tolerance` of the largest expected magnitude; NaN equals NaN, everything else is exact.
    """
    value, expected = numpy.asarray(value), numpy.asarray(expected)
    if value.shape != expected.shape or value.dtype != expected.dtype:
        return f"is {value.dtype} {list(value.shape)}, expected {expected.dtype} {list(expected.shape)}"
    if not value.size or numpy.array_equal(value, expected):
        return ""
    if not (numpy.issubdtype(value.dtype, numpy.inexact) or value.dtype == ml_dtypes.bfloat16):
        return f"differs in {int((value != expected).sum())} of {value.size} elements"
    found, wanted = value.astype(numpy.float64), expected.astype(numpy.float64)
    special = ~numpy.isfinite(found) | ~numpy.isfinite(wanted)
    if not numpy.array_equal(found[special], wanted[special], equal_nan=True):
        return "differs in which elements are infinite or NaN"
    found, wanted = numpy.where(special, 0, found), numpy.where(special, 0, wanted)
    error, scale = numpy.abs(found - wanted).max(), numpy.abs(wanted).max()
    return (
        f"differs by {error:.2e}, where the largest value is {scale:.2e}" if error > tolerance * scale else ""
    )


def save(paths: Sequence[Path], values: Sequence[Any]) -> None:
    """Write the first results to .npy files, one each."""
    for path, value in zip(paths, values, strict=False):
        numpy.save(path, value)
