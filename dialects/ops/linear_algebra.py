# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Matrix products. Operands have equal element types; all sizes are explicit, only the added term `x` broadcasts.

Integer element types are allowed as in ATen; float16 and bfloat16 products are accumulated in float32.
"""

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import require_broadcastable
from flambeau.dialects.opdef import COSTLY, Lowering, Number, Result, Tensor, VerificationError
from flambeau.dialects.ops.shape import transpose_source, transposed
from flambeau.dialects.types import DYNAMIC, is_bool, is_complex, shape_of, tensor_type

# --- Checks ----------------------------------------------------------------------------------------------------------


def _require_rank(name: str, type_: ir.Type, rank: int) -> None:
    if type_.rank != rank:
        raise VerificationError(f"operand '{name}' must have rank {rank}, found {type_}")


def _require_one_element_type(**operands: ir.Type) -> None:
    (first, type_), *rest = operands.items()
    if is_bool(type_) or is_complex(type_):
        raise VerificationError(f"operand '{first}' must be of float or integer elements, found {type_}")
    for name, other in rest:
        if other.element_type != type_.element_type:
            raise VerificationError(
                f"operands '{first}' and '{name}' differ in element type: {type_} and {other}"
            )


def _same_size(what: str, *found: int) -> int:
    """One size out of several that must agree."""
    known = {s for s in found if s != DYNAMIC}
    if len(known) > 1:
        raise VerificationError(f"{what} differ: {' and '.join(str(s) for s in found)}")
    return known.pop() if known else DYNAMIC


def _matrix_product(left: ir.Type, right: ir.Type, names: tuple[str, str]) -> list[int]:
    """The shape of left @ right."""
    _require_rank(names[0], left, 2)
    _require_rank(names[1], right, 2)
    _require_one_element_type(**dict(zip(names, (left, right), strict=True)))
    (n, k), (k_too, m) = shape_of(left), shape_of(right)
    _same_size(f"the inner sizes of {left} and {right}", k, k_too)
    return [n, m]


def _batch_product(left: ir.Type, right: ir.Type, names: tuple[str, str]) -> list[int]:
    """The shape of left @ right, matrix by matrix."""
    _require_rank(names[0], left, 3)
    _require_rank(names[1], right, 3)
    _require_one_element_type(**dict(zip(names, (left, right), strict=True)))
    (batch, n, k), (batch_too, k_too, m) = shape_of(left), shape_of(right)
    batch = _same_size(f"the batch sizes of {left} and {right}", batch, batch_too)
    _same_size(f"the inner sizes of {left} and {right}", k, k_too)
    return [batch, n, m]


# --- Parts of rules --------------------------------------------------------------------------------------------------


def _last_dims(x: ir.Value) -> tuple[int, int]:
    rank = x.type.rank
    return rank - 2, rank - 1


def _transposed(x: ir.Value) -> ir.Value:
    """The last two dims of `x` swapped; undoes such a swap rather than doing a second."""
    return transposed(x, *_last_dims(x))


def _is_transposed(x: ir.Value) -> bool:
    return transpose_source(x, *_last_dims(x)) is not None


def _scaled(value: ir.Value, factor: float) -> ir.Value:
    return value if factor == 1 else b.mul(value, factor)


def _linear_combination(x: ir.Value, product: ir.Value, beta: float, alpha: float) -> ir.Value:
    """beta * x + alpha * product. Where beta is 0, x does not count, not even its NaN."""
    result = _scaled(product, alpha)
    return result if beta == 0 else b.add(_scaled(b.expand_to(x, product), beta), result)


def _product_vjp(multiply, left: ir.Value, right: ir.Value, g: ir.Value) -> tuple[ir.Value, ir.Value]:
    """g @ right^T and left^T @ g. A factor that is a transpose gets a transposed gradient: its own rule undoes it."""
    if _is_transposed(left):
        grad_left = _transposed(multiply(right, _transposed(g)))
    else:
        grad_left = multiply(g, _transposed(right))
    if _is_transposed(right):
        grad_right = _transposed(multiply(_transposed(g), left))
    else:
        grad_right = multiply(_transposed(left), g)
    return grad_left, grad_right


def _outer(x: ir.Value, y: ir.Value) -> ir.Value:
    """The matrix x[i] * y[j] of two vectors."""
    shape = [b.size(x, 0), b.size(y, 0)]
    return b.mul(b.expand(b.unsqueeze(x, 1), shape), b.expand(b.unsqueeze(y, 0), shape))


# --- Ops -------------------------------------------------------------------------------------------------------------


class MmOp(FlambeauOp, name="mm"):
    """x @ mat2 of matrices [n, k] and [k, m].

    Gradient: g @ mat2^T; x^T @ g.
    """

    x: Tensor
    mat2: Tensor
    out: Result
    aten = "mm"
    recompute = COSTLY

    def infer(op):
        return tensor_type(_matrix_product(op.x, op.mat2, ("x", "mat2")), op.x.element_type)

    def vjp(op, g):
        grad_x, grad_mat2 = _product_vjp(b.mm, op.x, op.mat2, g)
        return {"x": grad_x, "mat2": grad_mat2}


class BmmOp(FlambeauOp, name="bmm"):
    """x @ mat2 of batches of matrices [b, n, k] and [b, k, m].

    Gradient: g @ mat2^T; x^T @ g.
    """

    x: Tensor
    mat2: Tensor
    out: Result
    aten = "bmm"
    recompute = COSTLY

    def infer(op):
        return tensor_type(_batch_product(op.x, op.mat2, ("x", "mat2")), op.x.element_type)

    def vjp(op, g):
        grad_x, grad_mat2 = _product_vjp(b.bmm, op.x, op.mat2, g)
        return {"x": grad_x, "mat2": grad_mat2}


class AddmmOp(FlambeauOp, name="addmm"):
    """beta * x + alpha * (mat1 @ mat2), x broadcast to [n, m]; x does not count at all where beta is 0.

    Gradient: beta * g summed to x's shape; alpha * g @ mat2^T; alpha * mat1^T @ g.
    """

    x: Tensor
    mat1: Tensor
    mat2: Tensor
    beta: Number = 1
    alpha: Number = 1
    out: Result
    aten = "addmm"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        shape = _matrix_product(op.mat1, op.mat2, ("mat1", "mat2"))
        _require_one_element_type(mat1=op.mat1, x=op.x)
        require_broadcastable("x", op.x, shape)
        return tensor_type(shape, op.x.element_type)

    def vjp(op, g):
        scaled = _scaled(g, op.alpha)
        grad_mat1, grad_mat2 = _product_vjp(b.mm, op.mat1, op.mat2, scaled)
        return {"x": _scaled(b.sum_to(g, op.x), op.beta), "mat1": grad_mat1, "mat2": grad_mat2}

    def decompose(op):
        return _linear_combination(op.x, b.mm(op.mat1, op.mat2), op.beta, op.alpha)


class BaddbmmOp(FlambeauOp, name="baddbmm"):
    """beta * x + alpha * (batch1 @ batch2), x broadcast to [b, n, m]; x does not count at all where beta is 0.

    Gradient: beta * g summed to x's shape; alpha * g @ batch2^T; alpha * batch1^T @ g.
    """

    x: Tensor
    batch1: Tensor
    batch2: Tensor
    beta: Number = 1
    alpha: Number = 1
    out: Result
    aten = "baddbmm"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        shape = _batch_product(op.batch1, op.batch2, ("batch1", "batch2"))
        _require_one_element_type(batch1=op.batch1, x=op.x)
        require_broadcastable("x", op.x, shape)
        return tensor_type(shape, op.x.element_type)

    def vjp(op, g):
        scaled = _scaled(g, op.alpha)
        grad_batch1, grad_batch2 = _product_vjp(b.bmm, op.batch1, op.batch2, scaled)
        return {"x": _scaled(b.sum_to(g, op.x), op.beta), "batch1": grad_batch1, "batch2": grad_batch2}

    def decompose(op):
        return _linear_combination(op.x, b.bmm(op.batch1, op.batch2), op.beta, op.alpha)


class AddbmmOp(FlambeauOp, name="addbmm"):
    """beta * x + alpha * the sum over the batch of batch1 @ batch2, x broadcast to [n, m].

    Gradient: beta * g summed to x's shape; for each matrix of the batch those of addmm.
    """

    x: Tensor
    batch1: Tensor
    batch2: Tensor
    beta: Number = 1
    alpha: Number = 1
    out: Result
    aten = "addbmm"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        shape = _batch_product(op.batch1, op.batch2, ("batch1", "batch2"))[1:]
        _require_one_element_type(batch1=op.batch1, x=op.x)
        require_broadcastable("x", op.x, shape)
        return tensor_type(shape, op.x.element_type)

    def vjp(op, g):
        batch, n, _ = b.sizes(op.batch1)
        m = b.size(op.batch2, 2)
        scaled = b.expand(b.unsqueeze(_scaled(g, op.alpha), 0), [batch, n, m])
        grad_batch1, grad_batch2 = _product_vjp(b.bmm, op.batch1, op.batch2, scaled)
        return {"x": _scaled(b.sum_to(g, op.x), op.beta), "batch1": grad_batch1, "batch2": grad_batch2}

    def decompose(op):
        # One product over batch and inner dim together.
        batch, n, k = b.sizes(op.batch1)
        m = b.size(op.batch2, 2)
        inner = b.multiply_sizes([batch, k])
        rows = b.view(b.permute(op.batch1, [1, 0, 2]), [n, inner])
        columns = b.view(op.batch2, [inner, m])
        return _linear_combination(op.x, b.mm(rows, columns), op.beta, op.alpha)


class MvOp(FlambeauOp, name="mv"):
    """x @ vec of a matrix [n, k] and a vector [k].

    Gradient: g vec^T; x^T @ g.
    """

    x: Tensor
    vec: Tensor
    out: Result
    aten = "mv"
    recompute = COSTLY

    def infer(op):
        _require_rank("x", op.x, 2)
        _require_rank("vec", op.vec, 1)
        _require_one_element_type(x=op.x, vec=op.vec)
        (n, k), (k_too,) = shape_of(op.x), shape_of(op.vec)
        _same_size(f"the inner sizes of {op.x} and {op.vec}", k, k_too)
        return tensor_type([n], op.x.element_type)

    def vjp(op, g):
        return {"x": _outer(g, op.vec), "vec": b.mv(_transposed(op.x), g)}


class AddmvOp(FlambeauOp, name="addmv"):
    """beta * x + alpha * (mat @ vec), x broadcast to [n]; x does not count at all where beta is 0.

    Gradient: beta * g summed to x's shape; alpha * g vec^T; alpha * mat^T @ g.
    """

    x: Tensor
    mat: Tensor
    vec: Tensor
    beta: Number = 1
    alpha: Number = 1
    out: Result
    aten = "addmv"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        _require_rank("mat", op.mat, 2)
        _require_rank("vec", op.vec, 1)
        _require_one_element_type(mat=op.mat, vec=op.vec, x=op.x)
        (n, k), (k_too,) = shape_of(op.mat), shape_of(op.vec)
        _same_size(f"the inner sizes of {op.mat} and {op.vec}", k, k_too)
        require_broadcastable("x", op.x, [n])
        return tensor_type([n], op.x.element_type)

    def vjp(op, g):
        scaled = _scaled(g, op.alpha)
        return {
            "x": _scaled(b.sum_to(g, op.x), op.beta),
            "mat": _outer(scaled, op.vec),
            "vec": b.mv(_transposed(op.mat), scaled),
        }

    def decompose(op):
        return _linear_combination(op.x, b.mv(op.mat, op.vec), op.beta, op.alpha)


class DotOp(FlambeauOp, name="dot"):
    """The sum of x * y over two vectors [n].

    Gradient: g * y; g * x.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("dot", "vdot")
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        _require_rank("x", op.x, 1)
        _require_rank("y", op.y, 1)
        _require_one_element_type(x=op.x, y=op.y)
        _same_size(f"the sizes of {op.x} and {op.y}", *shape_of(op.x), *shape_of(op.y))
        return tensor_type([], op.x.element_type)

    def vjp(op, g):
        return {"x": b.mul(b.expand_to(g, op.y), op.y), "y": b.mul(b.expand_to(g, op.x), op.x)}

    def decompose(op):
        # A product of matrices, not mul and sum: float16 and bfloat16 accumulate in float32, and integers do not widen.
        size = b.size(op.x, 0)
        return b.view(b.mm(b.view(op.x, [1, size]), b.view(op.y, [size, 1])), [])


class AddrOp(FlambeauOp, name="addr"):
    """beta * x + alpha * vec1 vec2^T, x broadcast to [n, m]; x does not count at all where beta is 0.

    Gradient: beta * g summed to x's shape; alpha * g @ vec2; alpha * g^T @ vec1.
    """

    x: Tensor
    vec1: Tensor
    vec2: Tensor
    beta: Number = 1
    alpha: Number = 1
    out: Result
    aten = "addr"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        _require_rank("vec1", op.vec1, 1)
        _require_rank("vec2", op.vec2, 1)
        _require_one_element_type(vec1=op.vec1, vec2=op.vec2, x=op.x)
        shape = [*shape_of(op.vec1), *shape_of(op.vec2)]
        require_broadcastable("x", op.x, shape)
        return tensor_type(shape, op.x.element_type)

    def vjp(op, g):
        scaled = _scaled(g, op.alpha)
        return {
            "x": _scaled(b.sum_to(g, op.x), op.beta),
            "vec1": b.mv(scaled, op.vec2),
            "vec2": b.mv(_transposed(scaled), op.vec1),
        }

    def decompose(op):
        return _linear_combination(op.x, _outer(op.vec1, op.vec2), op.beta, op.alpha)
