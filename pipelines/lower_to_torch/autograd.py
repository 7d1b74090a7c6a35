# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of the autograd dialect: after `autodiff` its markers are plain values."""

from flambeau.dialects.bindings import ir
from flambeau.pipelines.lower_to_torch import torch_builder as t


@t.lowers("autograd.detach", "autograd.checkpoint")
def _same(o: t.Lowered) -> ir.Value:
    return o.x


@t.lowers("autograd.with_value")
def _with_value(o: t.Lowered) -> ir.Value:
    return o.new
