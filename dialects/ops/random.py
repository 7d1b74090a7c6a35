# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random ops: the stateful ones as PyTorch calls them, and the one pure generator that functionalize turns them into.

A stateful op draws from PyTorch's generator and has effects, so it is neither merged nor removed. Each class has,
besides the usual rules, `functional(op, seed, offset)`: the op's results (a list if several) as pure functions of
`seed` (`tensor<2xi32>`) and `offset` (`tensor<i32>`), the number of the draw within a graph; two ops with different
offsets are independent. Only `random_bits` draws; everything else is arithmetic on its bits:

* uniform in [0, 1): k * 2^-n, k the top n bits; n = 24 for f32, 11 for f16, 8 for bf16, 52 for f64 (26 of each word).
* normal: Box-Muller, sqrt(-2 log(1 - u)) * cos(2 pi v), u and v from the two words (24 bits each, f64: 31).
* float16 and bfloat16 other than uniform are drawn in float32 and rounded.
"""

import math

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp, Stateful
from flambeau.dialects.infer import equal_types
from flambeau.dialects.opdef import (
    COSTLY,
    NEVER,
    Bool,
    DType,
    Float,
    Int,
    Lowering,
    NoRule,
    NotDifferentiable,
    Result,
    Sizes,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import (
    DYNAMIC,
    dtype_name,
    is_float,
    is_low_precision,
    tensor_type,
    with_element,
)

# What one draw can number: the generator's counter holds the element's position in 32 bits.
_MOST_ELEMENTS = 2**32
# Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011): the rotations of five groups of four rounds, and
# the constant of the key schedule.
_EVEN, _ODD = (13, 15, 26, 6), (17, 29, 16, 24)
THREEFRY_ROTATIONS = (_EVEN, _ODD, _EVEN, _ODD, _EVEN)
THREEFRY_PARITY = 0x1BD11BDA
_DRAWN_BEFORE_AUTODIFF = "functionalize draws it from random_bits before autodiff"


class RandomBitsOp(FlambeauOp, name="random_bits"):
    """Threefry-2x32 with 20 rounds: two independent words of `bits` random bits for each element.

    The key is `seed`, the counter (position of the element in row-major order, `offset`), all as unsigned 32-bit
    numbers. Result 0 holds the top `bits` bits of the first output word, result 1 those of the second: numbers in
    [0, 2^bits), or for bits = 32 the word itself, read as a signed number. Same seed, offset and position: same bits
    on every device.
    """

    seed: Tensor
    offset: Tensor
    shape: Sizes
    bits: Int
    word0: Result
    word1: Result
    # Recomputing gives the same bits, but costs a hundred integer operations per element.
    recompute = COSTLY
    lowering = Lowering.RULE
    vjp = NotDifferentiable("random bits depend on the seed alone")

    def infer(op):
        i32 = ir.IntegerType.get_signless(32)
        for name, want in (("seed", tensor_type([2], i32)), ("offset", tensor_type([], i32))):
            if getattr(op, name) != want:
                raise VerificationError(f"operand '{name}' must be {want}, found {getattr(op, name)}")
        if not 1 <= op.bits <= 32:
            raise VerificationError(f"bits is {op.bits}, but must be in 1..32")
        if DYNAMIC not in op.shape and math.prod(op.shape) > _MOST_ELEMENTS:
            raise VerificationError(f"{math.prod(op.shape)} elements, but one draw has at most 2^32")
        return [tensor_type(op.shape, i32)] * 2


# --- From bits to distributions --------------------------------------------------------------------------------------


def _open_interval_bits(element: ir.Type) -> int:
    # Bits per word so that k + 1/2 is exact.
    return 26 if dtype_name(element) == "float64" else 23


def _compute_element(element: ir.Type) -> ir.Type:
    """Where the arithmetic of a distribution is done: f32 for 16-bit floats."""
    return ir.F32Type.get() if is_low_precision(element) else element


def uniform01(seed: ir.Value, offset: ir.Value, shape: list[int | ir.Value], element: ir.Type) -> ir.Value:
    """Uniform numbers in [0, 1) of a float element type."""
    digits = {"float64": 26, "float32": 24, "float16": 11, "bfloat16": 8}[dtype_name(element)]
    word0, word1 = b.random_bits(seed, offset, shape, digits)
    if digits != 26:
        return b.mul(b.cast(word0, element), 2.0**-digits)
    return b.add(b.mul(b.cast(word0, element), 2.0**-26), b.mul(b.cast(word1, element), 2.0**-52))


def _uniform_inside(
    seed: ir.Value, offset: ir.Value, shape: list[int | ir.Value], element: ir.Type
) -> ir.Value:
    """Uniform numbers in (0, 1), both ends excluded, for f32 and f64: (k + 1/2) / 2^n."""
    digits = _open_interval_bits(element)
    word0, word1 = b.random_bits(seed, offset, shape, digits)
    if digits == 23:
        return b.mul(b.add(b.cast(word0, element), 0.5), 2.0**-23)
    return b.add(b.mul(b.cast(word0, element), 2.0**-26), b.mul(b.add(b.cast(word1, element), 0.5), 2.0**-52))


def standard_normal(
    seed: ir.Value, offset: ir.Value, shape: list[int | ir.Value], element: ir.Type
) -> ir.Value:
    """Normal numbers with mean 0 and variance 1 of a float element type, by Box-Muller."""
    compute = _compute_element(element)
    digits = 31 if dtype_name(compute) == "float64" else 24
    word0, word1 = b.random_bits(seed, offset, shape, digits)
    inside = b.mul(b.add(b.cast(word0, compute), 1.0), 2.0**-digits)  # (0, 1]: the logarithm is finite
    radius = b.sqrt(b.mul(b.log(inside), -2.0))
    angle = b.mul(b.cast(word1, compute), 2.0 * math.pi * 2.0**-digits)
    return b.cast(b.mul(radius, b.cos(angle)), element)


def keep_mask(seed: ir.Value, offset: ir.Value, shape: list[int | ir.Value], keep: float) -> ir.Value:
    """A bool tensor whose elements are true with probability `keep` (in steps of 2^-24)."""
    return b.lt(uniform01(seed, offset, shape, ir.F32Type.get()), keep)


def dropout(x: ir.Value, mask: ir.Value, p: float) -> ir.Value:
    """x * mask / (1 - p) as eager rounds it; zeros (NaN where x is not finite) for p = 1."""
    element = x.type.element_type
    scale = 1.0 / (1.0 - p) if p != 1.0 else 0.0
    kept = b.mul(x, b.cast(mask, element))
    return b.cast(b.mul(b.cast(kept, _compute_element(element)), scale), element)


def _require_float(type_: ir.Type, what: str) -> None:
    if not is_float(type_):
        raise VerificationError(f"{what} needs a float element type, found {type_}")


def _require_probability(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise VerificationError(f"p is {p}, but a probability lies in [0, 1]")


# --- Ops that follow a tensor ----------------------------------------------------------------------------------------


class NativeDropoutOp(FlambeauOp, name="native_dropout", traits=(Stateful,)):
    """x with elements zeroed with probability `p`, the rest scaled by 1 / (1 - p); and the bool mask of what is kept.

    `train` false: x itself and a mask of ones. Gradient (of what functionalize makes of it): g * mask / (1 - p).
    """

    x: Tensor
    p: Float
    train: Bool | None
    out: Result
    mask: Result
    aten = "native_dropout"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NoRule(_DRAWN_BEFORE_AUTODIFF)

    def infer(op):
        _require_float(op.x, "native_dropout")
        _require_probability(op.p)
        return [op.x, with_element(op.x, ir.IntegerType.get_signless(1))]

    def functional(op, seed, offset):
        if op.train is False:
            return [op.x, b.full_like(op.x, True, ir.IntegerType.get_signless(1))]
        mask = keep_mask(seed, offset, b.sizes(op.x), 1.0 - op.p)
        return [dropout(op.x, mask, op.p), mask]


class BernoulliOp(FlambeauOp, name="bernoulli", traits=(Stateful,)):
    """1 with probability `x` (elementwise), else 0, in the element type of x."""

    x: Tensor
    out: Result
    aten = "bernoulli"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("PyTorch defines the gradient of a draw as zero")

    def infer(op):
        _require_float(op.x, "bernoulli")
        return op.x

    def functional(op, seed, offset):
        element = op.x.type.element_type
        compute = _compute_element(element)
        u = uniform01(seed, offset, b.sizes(op.x), compute)
        return b.cast(b.lt(u, b.cast(op.x, compute)), element)


class BernoulliPOp(FlambeauOp, name="bernoulli_p", traits=(Stateful,)):
    """1 with probability `p`, else 0, in the shape and element type of x."""

    x: Tensor
    p: Float
    out: Result
    aten = "bernoulli.p"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("only the shape of x is used")

    def infer(op):
        _require_probability(op.p)
        return op.x

    def functional(op, seed, offset):
        return b.cast(keep_mask(seed, offset, b.sizes(op.x), op.p), op.x.type.element_type)


class UniformOp(FlambeauOp, name="uniform", traits=(Stateful,)):
    """Uniform numbers in [low, high) in the shape and element type of x (ATen's `from` and `to`)."""

    x: Tensor
    low: Float
    high: Float
    out: Result
    aten = "uniform"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("only the shape of x is used")

    def infer(op):
        _require_float(op.x, "uniform")
        if not op.low <= op.high:
            raise VerificationError(f"low is {op.low} and high is {op.high}, but low <= high is needed")
        return op.x

    def functional(op, seed, offset):
        element = op.x.type.element_type
        u = b.cast(uniform01(seed, offset, b.sizes(op.x), element), _compute_element(element))
        return b.cast(b.add(b.mul(u, op.high - op.low), op.low), element)


class NormalFunctionalOp(FlambeauOp, name="normal_functional", traits=(Stateful,)):
    """Normal numbers with `mean` and standard deviation `std` in the shape and element type of x."""

    x: Tensor
    mean: Float
    std: Float
    out: Result
    aten = "normal_functional"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("only the shape of x is used")

    def infer(op):
        _require_float(op.x, "normal_functional")
        if op.std < 0:
            raise VerificationError(f"std is {op.std}, but must not be negative")
        return op.x

    def functional(op, seed, offset):
        z = standard_normal(seed, offset, b.sizes(op.x), op.x.type.element_type)
        return b.add(b.mul(z, op.std), op.mean)


class NormalOp(FlambeauOp, name="normal", traits=(Stateful,)):
    """Normal numbers with the tensors `mean` and `std` as means and standard deviations, elementwise."""

    mean: Tensor
    std: Tensor
    out: Result
    aten = "normal.Tensor_Tensor"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("PyTorch defines the gradient of a draw as zero")

    def infer(op):
        _require_float(op.mean, "normal")
        return equal_types("mean", "std")(op)

    def functional(op, seed, offset):
        z = standard_normal(seed, offset, b.sizes(op.mean), op.mean.type.element_type)
        return b.add(b.mul(z, op.std), op.mean)


class ExponentialOp(FlambeauOp, name="exponential", traits=(Stateful,)):
    """Exponentially distributed numbers with rate `lambd`, never 0, in the shape and element type of x."""

    x: Tensor
    lambd: Float
    out: Result
    aten = "exponential"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("only the shape of x is used")

    def infer(op):
        _require_float(op.x, "exponential")
        if op.lambd <= 0:
            raise VerificationError(f"lambd is {op.lambd}, but must be positive")
        return op.x

    def functional(op, seed, offset):
        element = op.x.type.element_type
        u = _uniform_inside(seed, offset, b.sizes(op.x), _compute_element(element))
        return b.cast(b.mul(b.log(u), -1.0 / op.lambd), element)


class RandLikeOp(FlambeauOp, name="rand_like", traits=(Stateful,)):
    """Uniform numbers in [0, 1) in the shape of x, of element type `dtype`."""

    x: Tensor
    dtype: DType
    out: Result
    aten = "rand_like"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("only the shape of x is used")

    def infer(op):
        _require_float(op.dtype, "rand_like")
        return with_element(op.x, op.dtype)

    def functional(op, seed, offset):
        return uniform01(seed, offset, b.sizes(op.x), op.dtype)


class RandnLikeOp(FlambeauOp, name="randn_like", traits=(Stateful,)):
    """Normal numbers with mean 0 and variance 1 in the shape of x, of element type `dtype`."""

    x: Tensor
    dtype: DType
    out: Result
    aten = "randn_like"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("only the shape of x is used")

    def infer(op):
        _require_float(op.dtype, "randn_like")
        return with_element(op.x, op.dtype)

    def functional(op, seed, offset):
        return standard_normal(seed, offset, b.sizes(op.x), op.dtype)


class RandintLikeOp(FlambeauOp, name="randint_like", traits=(Stateful,)):
    """Uniform integers in [low, high) in the shape of x, of element type `dtype`."""

    x: Tensor
    low: Int
    high: Int
    dtype: DType
    out: Result
    aten = (
        aten("randint_like.low_dtype", "x", "low", "high", "dtype"),
        aten("randint_like", "x", "high", "dtype"),
    )
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("only the shape of x is used")

    def infer(op):
        _require_range(op.low, op.high)
        return with_element(op.x, op.dtype)

    def functional(op, seed, offset):
        return _uniform_integers(seed, offset, b.sizes(op.x), op.low, op.high, op.dtype)


# --- Ops that make a tensor ------------------------------------------------------------------------------------------


class RandOp(FlambeauOp, name="rand", traits=(Stateful,)):
    """Uniform numbers in [0, 1)."""

    shape: Sizes
    dtype: DType
    out: Result
    aten = "rand"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("a draw depends on nothing")

    def infer(op):
        _require_float(op.dtype, "rand")
        return tensor_type(op.shape, op.dtype)

    def functional(op, seed, offset):
        return uniform01(seed, offset, op.shape, op.dtype)


class RandnOp(FlambeauOp, name="randn", traits=(Stateful,)):
    """Normal numbers with mean 0 and variance 1."""

    shape: Sizes
    dtype: DType
    out: Result
    aten = "randn"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("a draw depends on nothing")

    def infer(op):
        _require_float(op.dtype, "randn")
        return tensor_type(op.shape, op.dtype)

    def functional(op, seed, offset):
        return standard_normal(seed, offset, op.shape, op.dtype)


class RandintOp(FlambeauOp, name="randint", traits=(Stateful,)):
    """Uniform integers in [low, high)."""

    low: Int
    high: Int
    shape: Sizes
    dtype: DType
    out: Result
    aten = (aten("randint.low", "low", "high", "shape", "dtype"), aten("randint", "high", "shape", "dtype"))
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NotDifferentiable("a draw depends on nothing")

    def infer(op):
        _require_range(op.low, op.high)
        return tensor_type(op.shape, op.dtype)

    def functional(op, seed, offset):
        return _uniform_integers(seed, offset, op.shape, op.low, op.high, op.dtype)


def _require_range(low: int, high: int) -> None:
    if not low < high:
        raise VerificationError(f"low is {low} and high is {high}, but low < high is needed")
    if high - low > 2**32:
        raise VerificationError(f"the range {low}..{high} has more than 2^32 values")


def _uniform_integers(
    seed: ir.Value, offset: ir.Value, shape: list[int | ir.Value], low: int, high: int, element: ir.Type
) -> ir.Value:
    # 62 random bits modulo the range: the bias is below 2^-30 for every range allowed.
    word0, word1 = b.random_bits(seed, offset, shape, 31)
    wide = b.add(b.mul(b.cast(word0, "int64"), 2**31), b.cast(word1, "int64"))
    return b.cast(b.add(b.remainder(wide, high - low), low), element)
