# TEMPORARY: the table of branch scalars takes the place of this file.
from flambeau.dialects.bindings import ir
def scalar_form(op, operands):
    n = op.name.partition(".")[2]
    t = operands[-1].type
    def mk(name, ops, ty=None, **a): return ir.Operation.create(name, operands=ops, results=[ty or t], attributes=a).results[0]
    el = t.element_type if isinstance(t, ir.VectorType) else t
    f = isinstance(el, ir.FloatType)
    simple = {"add": "arith.addf" if f else "arith.addi", "sub": "arith.subf" if f else "arith.subi", "mul": "arith.mulf" if f else "arith.muli", "div": "arith.divf", "maximum":"arith.maximumf","neg":"arith.negf","exp":"math.exp","log":"math.log","tanh":"math.tanh","erf":"math.erf","rsqrt":"math.rsqrt","sqrt":"math.sqrt","abs":"math.absf"}
    if n == "where": return mk("arith.select", operands)
    if n in ("gt","eq","ge","lt"):
        i1 = ir.IntegerType.get_signless(1)
        ty = ir.VectorType.get(t.shape, i1) if isinstance(t, ir.VectorType) else i1
        i64 = ir.IntegerType.get_signless(64)
        return mk("arith.cmpf" if f else "arith.cmpi", operands, ty, predicate=ir.IntegerAttr.get(i64, ({"gt":2,"eq":1,"ge":3,"lt":4} if f else {"eq":0,"gt":4,"ge":5,"lt":2})[n]))
    if n in simple: return mk(simple[n], operands)
    from flambeau.pipelines.kernels.index_maps import NotCovered
    raise NotCovered(f"scalar form of {n}")
