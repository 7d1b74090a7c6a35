# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions of float64 scalars that IREE has no code for, as arithmetic in the body of a loop nest."""

from flambeau.dialects.bindings import arith, ir
from flambeau.pipelines.lower_to_torch.scalar import equal, math_op, number, polynomial

# erf(x) = x T(x^2) / U(x^2) for |x| <= 1, and 1 - exp(-x^2) P(x) / Q(x) for 1 < x < 8: the approximations of the Cephes
# library, highest power first. erf is 1 in float64 from 6 on.
_ERF_T = (
    9.60497373987051638749e0,
    9.00260197203842689217e1,
    2.23200534594684319226e3,
    7.00332514112805075473e3,
    5.55923013010394962768e4,
)
_ERF_U = (
    1.0,
    3.35617141647503099647e1,
    5.21357949780152679795e2,
    4.59432382970980127987e3,
    2.26290000613890934246e4,
    4.92673942608635921086e4,
)
_ERFC_P = (
    2.46196981473530512524e-10,
    5.64189564831068821977e-1,
    7.46321056442269912687e0,
    4.86371970985681366614e1,
    1.96520832956077098242e2,
    5.26445194995477358631e2,
    9.34528527171957607540e2,
    1.02755188689515710272e3,
    5.57535335369399327526e2,
)
_ERFC_Q = (
    1.0,
    1.32281951154744992508e1,
    8.67072140885989742329e1,
    3.54937778887819891062e2,
    9.75708501743205489753e2,
    1.82390916687909736289e3,
    2.24633760818710981792e3,
    1.65666309194161350182e3,
    5.57535340817727675546e2,
)


def erf(x: ir.Value) -> ir.Value:
    """The error function of an f64, to about 2 units in the last place; NaN of NaN."""
    size = math_op("absf", x)
    square = arith.mulf(x, x)
    inner = arith.mulf(x, arith.divf(polynomial(square, _ERF_T), polynomial(square, _ERF_U)))
    # Where it is not chosen, the argument is kept where nothing overflows.
    far = arith.minimumf(size, number(x, 8.0))
    decay = math_op("exp", arith.negf(arith.mulf(far, far)))
    tail = arith.divf(arith.mulf(decay, polynomial(far, _ERFC_P)), polynomial(far, _ERFC_Q))
    outer = math_op("copysign", arith.subf(number(x, 1.0), tail), x)
    near = arith.cmpf(arith.CmpFPredicate.ULE, size, number(x, 1.0))
    return arith.select(near, inner, outer)


def log1p(x: ir.Value) -> ir.Value:
    """log(1 + x) of an f64, accurate near 0, where IREE rounds 1 + x and loses x.

    W. Kahan's form: log(u) x / (u - 1) with u = 1 + x rounded; the errors of both factors cancel.
    """
    one = number(x, 1.0)
    grown = arith.addf(one, x)
    corrected = arith.mulf(math_op("log", grown), arith.divf(x, arith.subf(grown, one)))
    # Where 1 + x is 1 that is 0 / 0; where it is x, infinity included, there is nothing to correct.
    corrected = arith.select(equal(grown, x), math_op("log", x), corrected)
    return arith.select(equal(grown, one), x, corrected)


def expm1(x: ir.Value) -> ir.Value:
    """e^x - 1 of an f64, accurate near 0, where IREE rounds e^x and loses x.

    W. Kahan's form: (u - 1) x / log(u) with u = e^x rounded.
    """
    one = number(x, 1.0)
    grown = math_op("exp", x)
    less = arith.subf(grown, one)
    corrected = arith.mulf(less, arith.divf(x, math_op("log", grown)))
    # Far from 0 there is nothing to correct, and e^x may be 0 or infinite.
    far = arith.cmpf(arith.CmpFPredicate.OGT, math_op("absf", x), one)
    return arith.select(equal(grown, one), x, arith.select(far, less, corrected))


def tanh(x: ir.Value) -> ir.Value:
    """The hyperbolic tangent of an f64, accurate near 0: (e^2x - 1) / (e^2x + 1)."""
    # It is 1 to the last bit where |x| is over 20.
    size = arith.minimumf(math_op("absf", x), number(x, 20.0))
    grown = expm1(arith.addf(size, size))
    return math_op("copysign", arith.divf(grown, arith.addf(grown, number(x, 2.0))), x)
