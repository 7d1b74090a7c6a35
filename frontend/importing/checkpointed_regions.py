# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Regions under `torch.utils.checkpoint`: tags of a captured graph's nodes in, markers `autograd.checkpoint` out."""

from collections.abc import Iterable

from torch import fx
from torch.utils.checkpoint import CheckpointPolicy

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir

_SAVED = (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)


class CheckpointedRegions:
    """The checkpointed regions of a graph, by number; see `autograd.checkpoint`. Without any no marker is made."""

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        tags = [n.meta["ac_graph_id"] for n in nodes if "recompute" in n.meta and "ac_graph_id" in n.meta]
        self._numbers = {tag: number for number, tag in enumerate(dict.fromkeys(tags))}
        self._seen_from: dict[tuple[fx.Node, int | None], ir.Value] = {}

    def _region(self, node: fx.Node) -> int | None:
        return self._numbers.get(node.meta.get("ac_graph_id"))

    def enter(self, value: ir.Value, producer: fx.Node, user: fx.Node) -> ir.Value:
        """The value of a node as another one sees it: behind a marker if it is of another region."""
        region = self._region(user)
        if self._region(producer) == region:
            return value
        if (producer, region) not in self._seen_from:
            self._seen_from[producer, region] = b.autograd_checkpoint(value, region)
        return self._seen_from[producer, region]

    def read(self, value: ir.Value, user: fx.Node) -> ir.Value:
        """What a node reads of written memory, whichever region it was written in."""
        return b.autograd_checkpoint(value, self._region(user)) if self._numbers else value

    def keep(self, value: ir.Value, node: fx.Node) -> ir.Value:
        """A result of a node: marked if the policy of its region wants it to be saved."""
        if self._numbers and node.meta.get("recompute") in _SAVED:
            return b.autograd_checkpoint(value, self._region(node), save=True)
        return value
