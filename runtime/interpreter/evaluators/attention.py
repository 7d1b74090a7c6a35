# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluation of attention ops whose ATen overloads leave a result undefined."""

from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter.table import evaluates


@evaluates("flambeau.native_multi_head_attention")
def _native_multi_head_attention(a: SimpleNamespace) -> tuple[torch.Tensor, torch.Tensor]:
    out, weights = torch.ops.aten._native_multi_head_attention.default(
        a.query,
        a.key,
        a.value,
        a.embed_dim,
        a.num_head,
        a.qkv_weight,
        a.qkv_bias,
        a.proj_weight,
        a.proj_bias,
        a.mask,
        a.need_weights,
        a.average_attn_weights,
        a.mask_type,
    )
    return out, out.new_empty(0) if weights is None else weights
