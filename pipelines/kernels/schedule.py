# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The schedule of a kernel: which loops, how wide, how much per work group; and the cost model that chooses it.

A schedule is the attribute `flambeau.schedule` of a kernel, which a person may edit; `read_schedule` refuses what makes
no sense.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.pipelines.kernels.index_maps import NotCovered
from flambeau.pipelines.kernels.plan import Apply, Load, Node, Plan, Random, Reduce
from flambeau.pipelines.kernels.polynomial import product
from flambeau.pipelines.kernels.split_reduction import longest_split
from flambeau.pipelines.kernels.target import CpuTarget

ATTRIBUTE = "flambeau.schedule"


class ScheduleError(ValueError):
    """A schedule that makes no sense, and why."""


@dataclass(frozen=True)
class Schedule:
    """How a kernel's loops are written.

    form: `rows`: vectors along the innermost reduced loop; `columns`: along the innermost loop, which is parallel.
    vector: elements per step of the innermost loop, a power of two.
    rows: places of the outer parallel loops per work group.
    columns: places of the innermost parallel loop per work group; 0 for all, as always with `rows`.
    block: how many numbers an accumulator sums up before it is added to the total.
    parts: into how many parts the outermost reduced loop is split, which are reduced in a second step; 1: it is not.
    keep: values that are costly and needed again lie in a buffer on the stack.
    """

    form: str
    vector: int
    rows: int
    columns: int
    block: int
    parts: int
    keep: bool

    def attribute(self) -> ir.Attribute:
        """The schedule as an attribute."""
        i64 = ir.IntegerType.get_signless(64)
        return ir.DictAttr.get(
            {
                "form": ir.StringAttr.get(self.form),
                "keep": ir.BoolAttr.get(self.keep),
                **{n: ir.IntegerAttr.get(i64, getattr(self, n)) for n in _NUMBERS},
            }
        )


_NUMBERS = ("vector", "rows", "columns", "block", "parts")


def read_schedule(attribute: ir.Attribute, plan: Plan) -> Schedule:
    """The schedule that an attribute says. ScheduleError if it is none, or none for this kernel."""
    if not isinstance(attribute, ir.DictAttr):
        raise ScheduleError(f"{ATTRIBUTE} must be a dictionary, found {attribute}")
    given = {named.name: named.attr for named in attribute}
    names = [f.name for f in fields(Schedule)]
    for name in (*names, *given):
        if name not in given or name not in names:
            what = "lacks" if name not in given else "has an unknown entry"
            raise ScheduleError(f"{ATTRIBUTE} {what} {name!r}; it has: {', '.join(names)}")
    schedule = Schedule(**{name: _entry(name, given[name]) for name in names})
    _check(schedule, plan)
    return schedule


def _entry(name: str, attribute: ir.Attribute) -> Any:
    kinds: dict[str, type] = {"form": ir.StringAttr, "keep": ir.BoolAttr}
    kind = kinds.get(name, ir.IntegerAttr)
    if not isinstance(attribute, kind):
        raise ScheduleError(f"{ATTRIBUTE}: {name!r} cannot be {attribute}")
    return attribute.value


def _check(schedule: Schedule, plan: Plan) -> None:
    def require(condition: bool, reason: str) -> None:
        if not condition:
            raise ScheduleError(f"{ATTRIBUTE}: {reason}")

    require(
        schedule.form == form_of(plan), f"form {schedule.form!r} where this kernel takes {form_of(plan)!r}"
    )
    width = schedule.vector
    require(
        1 <= width <= 256 and width & (width - 1) == 0, f"vector is {width}, not a power of two up to 256"
    )
    require(schedule.rows >= 1, f"rows is {schedule.rows}, which is not positive")
    parts = schedule.parts
    require(
        parts >= 1 and longest_split(plan, parts) == parts,
        f"the reductions cannot be split into {parts} parts",
    )
    require(schedule.block >= 1, f"block is {schedule.block}, which is not positive")
    require(
        schedule.columns == 0
        or (schedule.form == "columns" and schedule.columns % width == 0 < schedule.columns),
        f"columns is {schedule.columns}: 0 for all, or in form `columns` a multiple of vector ({width})",
    )


def form_of(plan: Plan) -> str:
    """Vectors go along the innermost loop: it is reduced over, or it is not."""
    return "rows" if plan.loops and plan.loops[-1].reduced else "columns"


# --- The cost model -----------------------------------------------------------------------------------------------

_WORK_PER_GROUP = 24_000  # in units of one addition of an element: some microseconds
_COSTLY_OPS = (
    "exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc erfinv "
    "sigmoid gelu silu mish softplus elu pow pow_scalar remainder fmod floor_divide atan2 lgamma"
)
_COSTS = dict.fromkeys(_COSTLY_OPS.split(), 12.0) | {"div": 3.0, "sqrt": 3.0, "rsqrt": 4.0, "reciprocal": 3.0}
_RANDOM = 50.0  # twenty rounds of integer operations


def cost(node: Node) -> float:
    """What one element of a node costs, without its arguments."""
    if isinstance(node, Apply):
        return _COSTS.get(node.op.name.partition(".")[2], 1.0)
    if isinstance(node, Random):
        return _RANDOM
    return 1.0 if isinstance(node, Load | Reduce) else 0.0


def choose_schedule(plan: Plan, target: CpuTarget) -> Schedule:
    """The schedule that the cost model takes for this kernel and CPU."""
    form = form_of(plan)
    innermost = plan.loops[-1].number if plan.loops else -1
    _refuse_transposes(plan, innermost)
    inner = [node for node in plan.nodes if innermost in node.loops]
    width = _vector_width(plan, inner, target)
    work = sum(cost(node) for node in inner) + len(plan.stores) or 1.0
    if form == "rows":
        row = max(1, _static(plan.reduced, 1024))
        rows = max(1, int(_WORK_PER_GROUP / (work * row)))
        places = _static(plan.parallel, 2**20)
        schedule = Schedule(form, width, _balanced(rows, places, target), 0, 64, 1, True)
    else:
        schedule = _columns(plan, width, work, target)
    return _split_if_few(plan, schedule, work, target)


_SMALL = 16_384  # elements; so many fit into L1 whatever their order
_NEAR = 16  # elements from one to the next that are still read from few cache lines


def _refuse_transposes(plan: Plan, innermost: int) -> None:
    """A load in long steps along the innermost loop, as of a transpose, is slow: there is no form for it yet."""
    if _static(plan.loops, 2**20) <= _SMALL:
        return
    for load in plan.loads:
        step = load.place.coefficient(innermost)
        if step and (step.static is None or abs(step.static) > _NEAR):
            raise NotCovered("it reads along another dim than it writes")


def _split_if_few(plan: Plan, schedule: Schedule, work: float, target: CpuTarget) -> Schedule:
    """Split long reductions where there are fewer work groups than cores."""
    places = max(1, _static(plan.parallel, 2**20))
    total = work * places * _static(plan.reduced, 1)
    tile = schedule.rows
    if schedule.form == "columns":
        tile *= schedule.columns or max(1, _static(plan.parallel[-1:], 1))
    groups = -(-places // tile)
    if groups >= target.cores or total < 8 * _WORK_PER_GROUP:
        return schedule
    wanted = min(4 * target.cores // groups, int(total / _WORK_PER_GROUP))
    parts = longest_split(plan, wanted)
    return replace(schedule, rows=1, parts=parts) if parts > 1 else schedule


def two_steps(schedule: Schedule, second: Plan) -> tuple[Schedule, Schedule]:
    """The schedules of the parts, and of the plan that reduces them."""
    form = form_of(second)
    columns = schedule.vector if form == "columns" else 0
    rest = Schedule(form, schedule.vector, 1, columns, schedule.block, 1, keep=False)
    return replace(schedule, parts=1), rest


def _columns(plan: Plan, width: int, work: float, target: CpuTarget) -> Schedule:
    parallel = plan.parallel
    depth = max(1, _static(plan.reduced, 256))
    line = max(1, _static(parallel[-1:], 2**20))
    rows = _static(parallel[:-1], 1)
    places = max(1, int(_WORK_PER_GROUP / (work * depth)))
    if places >= line:
        return Schedule("columns", width, _balanced(places // line, rows, target), 0, 64, 1, True)
    wanted = _balanced(places, line, target)
    return Schedule("columns", width, 1, -(-wanted // width) * width, 64, 1, True)


def _balanced(size: int, total: int, target: CpuTarget) -> int:
    """A tile of about `size` places, so that the cores get equally many tiles where there are few."""
    total = max(1, total)
    size = max(1, min(size, total))
    tiles = -(-total // size)
    if 1 < tiles < 4 * target.cores:
        tiles = -(-tiles // target.cores) * target.cores
    return -(-total // tiles)


def _static(loops: Any, unknown: int) -> int:
    """How many places loops have together; `unknown` where that is not known."""
    count = product([loop.size for loop in loops]).static
    return unknown if count is None else count


def _vector_width(plan: Plan, inner: list[Node], target: CpuTarget) -> int:
    """Several registers at once, fewer where the body is long, and no more than the innermost loop has places."""
    widest = max((_bits(node.type) for node in inner), default=32)
    registers = 4 if sum(cost(node) for node in inner) < 24 else 2
    width = registers * target.lanes(max(32, widest))
    size = plan.loops[-1].size.static if plan.loops else 1
    while size is not None and width > 1 and width >= 2 * max(1, size):
        width //= 2
    return width


def _bits(type_: ir.Type) -> int:
    if isinstance(type_, ir.IntegerType | ir.FloatType):
        return int(type_.width)
    raise NotCovered(f"element type {type_}")
