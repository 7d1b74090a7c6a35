# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass narrow-saved: float32 values that `@forward` saves for `@backward` -> the same in 16 bits.

What is an argument or an output anyway takes no memory of its own, and stays as it is.
"""

from dataclasses import dataclass
from typing import Any, Literal

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import Role
from flambeau.dialects.types import dtype_name, is_float, is_tensor
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class NarrowSaved:
    """Save float32 values in half their memory; the backward computes in float32 from what is left of them.

    `dtype=bfloat16` keeps 8 significant bits and all magnitudes; `dtype=float16` keeps 11, but what is beyond 65504
    becomes infinite. A value from which the backward makes bools or integers (it compares it, say with its maximum)
    stays exact: rounded, it would decide otherwise.
    """

    name = "narrow-saved"

    dtype: Literal["bfloat16", "float16"] = "bfloat16"

    def run(self, module: ir.Module) -> None:
        functions = fn.symbol_table(module)
        if "backward" in functions:
            narrow_saved(functions["forward"], functions["backward"], self.dtype)


def narrow_saved(forward: Any, backward: Any, dtype: str) -> None:
    """Change results of `@forward` and the arguments of `@backward` that they are."""
    end, begin = fn.terminator(fn.entry_block(forward)), fn.entry_block(backward)
    results, facts = list(end.operands), fn.result_facts(forward)
    for argument, fact in zip(begin.arguments, fn.argument_facts(backward), strict=True):
        position = fact.of_result
        if position is None or fact.role is Role.TANGENT:
            continue
        if not facts[position].saved or not _is_float32(argument) or _decides(argument):
            continue
        exact = argument.type.element_type
        with ir.InsertionPoint(end), results[position].location:
            results[position] = b.cast(results[position], dtype)
        argument.set_type(results[position].type)
        with ir.InsertionPoint.at_block_begin(begin), argument.location:
            wide = b.cast(argument, exact)
        argument.replace_all_uses_except(wide, wide.owner.operation)
    arguments = fn.argument_facts(forward)
    fn.set_return(forward, results)
    fn.set_signature(forward, arguments, facts)
    fn.set_signature(backward, fn.argument_facts(backward), fn.result_facts(backward))


def _is_float32(value: ir.Value) -> bool:
    return is_tensor(value.type) and dtype_name(value.type) == "float32"


def _decides(value: ir.Value) -> bool:
    """Whether bools or integers are made from a float value, or may be: in a call nobody looks."""
    waiting, seen = [value], {value}
    while waiting:
        for use in waiting.pop().uses:
            if use.owner.name == "func.call":
                return True
            for result in use.owner.results:
                if is_tensor(result.type) and not is_float(result.type):
                    return True
                if result not in seen:
                    seen.add(result)
                    waiting.append(result)
    return False
