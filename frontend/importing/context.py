# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the files that import one sort of node know of the import under way; `Importer` is its implementation."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import fx

from flambeau.dialects.aten.importer import AtenImporter
from flambeau.dialects.bindings import ir
from flambeau.frontend.capture.records import CapturedGraph, TensorRecord
from flambeau.frontend.importing.symbols import Symbols


class ImportContext(AtenImporter):
    """The import of one captured graph."""

    captured: CapturedGraph
    node: fx.Node
    """The node being imported."""
    results: list[Any]
    """The fake results of the call being imported."""
    symbols: Symbols
    """The symbolic sizes in the function being built."""
    module_body: ir.Block

    @abstractmethod
    def entity(self, node: fx.Node) -> Any:
        """What a node stands for: a value, a reference, or a list of these."""

    @abstractmethod
    def tensor_type(self, shape: Sequence[int | torch.SymInt], dtype: torch.dtype) -> ir.RankedTensorType:
        """The type of a tensor."""

    @abstractmethod
    def constant(self, tensor: torch.Tensor) -> ir.Value:
        """A constant op of a real tensor."""

    @abstractmethod
    def root(self, storage: int) -> tuple[Any, TensorRecord]:
        """The value that is all of a storage, and its record."""

    @abstractmethod
    def import_body(self, graph_module: fx.GraphModule) -> fx.Node:
        """Import the nodes of a graph whose placeholders have entities; its output node."""

    @abstractmethod
    def inner_function(
        self, name: str, placeholders: Sequence[fx.Node], written: Iterable[int], *, differentiated: bool
    ) -> AbstractContextManager[Any]:
        """Import into a new private function: `placeholders` are its arguments, `written` the storages written there.

        `differentiated`: a pass may derive its derivative. The function comes out without a return and without its
        final type.
        """
