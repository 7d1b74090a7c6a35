# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The dialects `flambeau` (tensor ops and references) and `autograd` (what differentiation needs to say)."""

from inspect import get_annotations
from typing import Any

from flambeau.dialects import opdef
from flambeau.dialects.bindings import ext, ir
from flambeau.dialects.infer import equal_types


class _Dialect(ext.Dialect, name=""):
    """A dialect whose definition in IRDL is built once per process; other contexts parse it, which is much faster."""

    _text = ""
    _declared = 0  # how many ops `_text` defines

    @classmethod
    def _emit_module(cls) -> ir.Module:
        if cls._declared != len(cls.operations):
            cls._text, cls._declared = str(super()._emit_module()), len(cls.operations)
        return ir.Module.parse(cls._text)


class Flambeau(_Dialect, name="flambeau"):
    """Tensor ops on builtin ranked tensors, and references for writes and views."""


class Autograd(_Dialect, name="autograd"):
    """What differentiation needs to say: detach, with_value, regions with their own derivative."""


class RefType(Flambeau.Type, name="ref"):
    """`!flambeau.ref<tensor<..>>`: a place that holds a tensor and can be written; views of it share its storage."""

    value: Any

    @classmethod
    def of(cls, tensor: ir.Type) -> "RefType":
        ref: RefType = cls.get(tensor)
        return ref

    @property
    def tensor(self) -> ir.Type:
        return ir.TypeAttr(self.params[0]).value


class TapeType(Flambeau.Type, name="tape"):
    """`!flambeau.tape`: what PyTorch's autograd recorded of one call on the host, for its derivative."""


class Allocates:
    """Trait: the op makes a new place; never merged with another, removed when unused."""

    class Effects(ir.MemoryEffectsOpInterface):
        @staticmethod
        def get_effects(op: Any, effects: Any) -> None:
            effects.append(ir.MemoryEffect.Allocate, op.operation.results[0])

    @staticmethod
    def attach(op_name: str) -> None:
        Allocates.Effects.attach(op_name)


class Reads:
    """Trait: the op reads places; merged with an equal read only if nothing is written between."""

    class Effects(ir.MemoryEffectsOpInterface):
        @staticmethod
        def get_effects(op: Any, effects: Any) -> None:
            effects.append(ir.MemoryEffect.Read)

    @staticmethod
    def attach(op_name: str) -> None:
        Reads.Effects.attach(op_name)


class Writes:
    """Trait: the op writes places; never removed or merged."""

    class Effects(ir.MemoryEffectsOpInterface):
        @staticmethod
        def get_effects(op: Any, effects: Any) -> None:
            effects.append(ir.MemoryEffect.Write)

    @staticmethod
    def attach(op_name: str) -> None:
        Writes.Effects.attach(op_name)


class Stateful:
    """Trait: the op reads and advances a state outside the IR (a random generator); never removed, merged or moved."""

    class Effects(ir.MemoryEffectsOpInterface):
        @staticmethod
        def get_effects(op: Any, effects: Any) -> None:
            effects.append(ir.MemoryEffect.Read)
            effects.append(ir.MemoryEffect.Write)

    @staticmethod
    def attach(op_name: str) -> None:
        Stateful.Effects.attach(op_name)


Pure = ext.Pure


class FlambeauOp(Flambeau.Operation):
    """Base class of the ops of the `flambeau` dialect. Ops are pure unless `traits=` says otherwise."""

    def __init_subclass__(cls, *, name: str, traits: tuple[type, ...] = (Pure,), **kwargs: Any) -> None:
        opdef.declare(cls)
        super().__init_subclass__(name=name, traits=list(traits), **kwargs)
        opdef.register(cls)


class AutogradOp(Autograd.Operation):
    """Base class of the ops of the `autograd` dialect."""

    def __init_subclass__(cls, *, name: str, traits: tuple[type, ...] = (Pure,), **kwargs: Any) -> None:
        opdef.declare(cls)
        super().__init_subclass__(name=name, traits=list(traits), **kwargs)
        opdef.register(cls)


class ElementwiseOp(Flambeau.Operation):
    """Base class of pointwise ops of the `flambeau` dialect: pure, cheap to compute again, operands of equal types.

    What a class does not say otherwise: `elementwise`, `recompute = CHEAP`, `lowering = SCALAR` and `infer` from its
    `Tensor` operands.
    """

    def __init_subclass__(cls, *, name: str, traits: tuple[type, ...] = (Pure,), **kwargs: Any) -> None:
        operands = [key for key, kind in get_annotations(cls).items() if kind is opdef.Tensor]
        defaults = {
            "elementwise": True,
            "recompute": opdef.CHEAP,
            "lowering": opdef.Lowering.SCALAR,
            "infer": equal_types(*operands),
        }
        for key, value in defaults.items():
            if key not in cls.__dict__:
                setattr(cls, key, value)
        opdef.declare(cls)
        super().__init_subclass__(name=name, traits=list(traits), **kwargs)
        opdef.register(cls)
