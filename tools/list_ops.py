# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes docs/ops.md, every op by every concern, from the op classes: python -m flambeau.tools.list_ops > docs/ops.md

Loads no torch.
"""

import inspect
from typing import Any

from flambeau.dialects import FAMILIES
from flambeau.dialects.opdef import OPS, AtenCall, Field, Literal, Lowering, NoRule, NotDifferentiable

_HEAD = """# Ops

Written by `python -m flambeau.tools.list_ops`; a test checks that it is current. What the columns say:

* **op**: its name, with the fields as the builders in `dialects/build.py` take them. Operands are `Tensor`, sizes
  (an int or an `index` value each) `Size` and `Sizes`; everything else is an attribute.
* **from ATen**: the overloads that the importer turns into the op. A fixed argument stands after the name.
* **gradient**: the rule in `vjp`; or that `decompose` takes its place; or why there is none.
* **recompute**: whether a backward may compute the results again. `cheap`, `costly`, or `never`; or `its parts` say so,
  since `decompose` takes the op apart before the partition.
* **lowering**: `direct` is the torch dialect's op of the first ATen name, `scalar form` a loop nest with the op's form
  in `pipelines/scalar_forms` as its body, `rule` a function in `pipelines/lower_to_torch`, `decompose` the op's own
  rule, and `none` says that nothing compiled comes of it: it is gone before, or stays on the host.
"""


def ops_page() -> str:
    """The text of docs/ops.md."""
    parts = [_HEAD]
    for family in FAMILIES:
        module = f"flambeau.dialects.ops.{family}"
        classes = [cls for cls in OPS.values() if cls.__module__ == module]
        if not classes:
            continue
        title = (inspect.getdoc(inspect.getmodule(classes[0])) or "").splitlines()[0]
        parts.append(f"## {family}\n\n{title} (`dialects/ops/{family}.py`)\n")
        parts.append(
            "| op | what it computes | from ATen | gradient | recompute | lowering |\n|---|---|---|---|---|---|"
        )
        parts += [_row(cls) for cls in classes]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _row(cls: Any) -> str:
    what, gradient = _description(cls)
    cells = (
        f"`{_signature(cls)}`",
        what,
        "<br>".join(f"`{_aten(cls, call)}`" for call in cls.aten),
        gradient,
        cls.recompute.value,
        _lowering(cls),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _description(cls: Any) -> tuple[str, str]:
    """The docstring's text before `Gradient:`, and the gradient: what stands after it, or why there is none."""
    text = " ".join((inspect.getdoc(cls) or "").split())
    what, _, formula = text.partition("Gradient: ")
    if isinstance(cls.vjp, NotDifferentiable):
        return what.strip(), f"none: {cls.vjp.reason}"
    if isinstance(cls.vjp, NoRule):
        return what.strip(), f"no rule: {cls.vjp.reason}"
    return (
        what.strip(),
        formula if cls.vjp is not None else f"of the decomposition{': ' + formula if formula else ''}",
    )


def _signature(cls: Any) -> str:
    fields = ", ".join(_field(item) for item in cls.fields)
    results = ", ".join(f"*{r.name}" if r.variadic else r.name for r in cls.results_declared)
    view = ", view" if cls.view else ""
    return f"{cls.OPERATION_NAME}({fields}) -> {results or '()'}{view}"


def _field(item: Field) -> str:
    kind = item.kind.__name__
    kind = f"Sequence[{kind}]" if item.variadic else f"{kind} | None" if item.optional else kind
    return f"{item.name}: {kind} = {item.default!r}" if item.has_default else f"{item.name}: {kind}"


def _aten(cls: Any, call: AtenCall) -> str:
    """The overload, with the arguments at which it differs from the fields in declared order."""
    fields = {f.name for f in cls.fields}
    arguments = call.arguments or ()
    if list(arguments) == [f.name for f in cls.fields]:
        return call.overload
    shown = [
        a if isinstance(a, str) and a in fields else repr(a.value if isinstance(a, Literal) else a)
        for a in arguments
    ]
    return f"{call.overload}({', '.join(shown)})"


def _lowering(cls: Any) -> str:
    if cls.lowering is Lowering.DIRECT:
        return f"direct: `torch.{cls.aten[0].name}`"
    return str(cls.lowering.value)


if __name__ == "__main__":
    print(ops_page(), end="")
