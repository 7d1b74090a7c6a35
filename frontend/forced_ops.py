# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The option `force_eager`: names of ops -> the overloads of PyTorch and ops of the dialect that they stand for."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch._ops import OpOverload

from flambeau.dialects.opdef import OPS
from flambeau.pipelines.passes.force_eager import can_be_forced

_WRITES_UNSEEN = frozenset(
    f"aten::{name}"
    for name in (
        *("batch_norm", "instance_norm", "native_batch_norm", "_batch_norm_impl_index"),
        *("cudnn_batch_norm", "miopen_batch_norm"),
    )
)
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


@dataclass(frozen=True)
class ForcedOps:
    """Ops that PyTorch runs, whatever could be compiled: overloads of its own, and names of ops of the dialect."""

    overloads: frozenset[OpOverload] = frozenset()
    dialect: tuple[str, ...] = ()


NOT_FORCED = ForcedOps()


def forced_ops(names: Sequence[str]) -> ForcedOps:
    """What `names` stand for: `aten.gelu` (all its overloads), `aten.gelu.default`, `flambeau.gelu`, `mylib.op`.

    ValueError, with names that come close, for what is no op, or computes nothing.
    """
    overloads: set[OpOverload] = set()
    dialect = []
    known = _names_of_pytorch() if any(not name.startswith("flambeau.") for name in names) else set()
    for name in names:
        if can_be_forced(name):
            dialect.append(name)
        elif name in known:
            computing = [overload for overload in _overloads(name) if not _is_view(overload)]
            if any(overload._schema.name in _WRITES_UNSEEN for overload in computing):
                raise ValueError(
                    f"option force_eager: {name!r} writes running statistics, which its schema does not say; name "
                    "what it is made of: 'aten._native_batch_norm_legit', 'aten._native_batch_norm_legit_no_training'"
                )
            if not computing:
                raise ValueError(f"option force_eager: {name!r} makes a view, there is nothing to compute")
            overloads.update(computing)
        else:
            raise ValueError(_unknown(name))
    return ForcedOps(frozenset(overloads), tuple(dialect))


def _overloads(name: str) -> list[OpOverload]:
    namespace, op, *overload = name.split(".")
    packet = getattr(getattr(torch.ops, namespace), op)
    return [getattr(packet, o) for o in (overload or packet.overloads())]


def _names_of_pytorch() -> set[str]:
    """All ops and overloads that PyTorch knows at present, as `aten.gelu` and `aten.gelu.default`."""
    names = set()
    for qualified in torch._C._dispatch_get_all_op_names():
        op, _, overload = qualified.replace("::", "\0").partition(".")
        op = op.replace("\0", ".")
        names |= {op, f"{op}.{overload or 'default'}"}
    return names


def _is_view(overload: OpOverload) -> bool:
    return any(r.alias_info is not None and not r.alias_info.is_write for r in overload._schema.returns)


def _unknown(name: str) -> str:
    if name in OPS:
        return f"option force_eager: {name!r} computes nothing that could run elsewhere"
    of_dialect = [op for op in OPS if can_be_forced(op)]
    known = [op for op in _names_of_pytorch() if op.count(".") == max(name.count("."), 1)] + of_dialect
    spellings = [name] if "." in name else [f"aten.{name}", f"flambeau.{name}"]
    close = [c for s in spellings for c in difflib.get_close_matches(s, known, n=3, cutoff=0.7)]
    hint = f"did you mean {' or '.join(map(repr, dict.fromkeys(close)))}? " if close else ""
    return (
        f"option force_eager: unknown op {name!r}; {hint}valid are PyTorch's ops ('aten.gelu', "
        "'aten.gelu.default', 'mylib.myop') and the dialect's ('flambeau.gelu'; docs/ops.md lists them)"
    )


@contextmanager
def kept_whole(
    overloads: Iterable[OpOverload],
    keep: Callable[[OpOverload, Callable[..., Any], Sequence[Any], dict[str, Any]], Any],
) -> Iterator[None]:
    """Where PyTorch's Python dispatcher runs, calls of composite ops among the overloads go to `keep`.

    Otherwise PyTorch would take them apart before anybody sees them. `keep` gets the overload, what takes it apart,
    and the arguments.
    """
    composite = [o for o in overloads if o._can_decompose() and not o._schema.is_mutable]
    saved = {overload: dict(overload.py_kernels) for overload in composite}
    for overload in composite:
        opened = overload.py_kernels.pop(_COMPOSITE, None) or partial(overload._op_dk, _COMPOSITE)
        overload.py_impl(_COMPOSITE)(partial(_call, keep, overload, opened))
    try:
        yield
    finally:
        for overload, kernels in saved.items():
            overload.py_kernels.clear()
            overload.py_kernels.update(kernels)
            overload._dispatch_cache.clear()


def _call(
    keep: Callable[..., Any], overload: OpOverload, opened: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    return keep(overload, opened, args, kwargs)
