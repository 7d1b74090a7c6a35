# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of loss functions."""

import torch

from tests.dialects.sample import Sample


def _pair(name, *rest, shape=(3, 4), dtype=torch.float32, **options):
    """A loss of two tensors; some elements are equal, some far apart."""

    def arguments():
        x, target = torch.randn(shape).to(dtype) * 2, torch.randn(shape).to(dtype) * 2
        if x.dim():
            target[:1] = x[:1]
        return [x, target, *rest]

    if name == "soft_margin_loss":
        options["grad"] = (0,)

    return Sample(name, arguments, **options)


def _pairs(name, *rest, extra=()):
    return [
        _pair(name, 1, *rest, grad2=True),
        _pair(name, 0, *rest, id="none", grad2=True),
        _pair(name, 2, *rest, id="sum"),
        _pair(name, 1, *rest, shape=(), id="rank 0"),
        _pair(name, 2, *rest, shape=(0, 3), id="sum of nothing"),
        _pair(name, 1, *rest, dtype=torch.bfloat16, id="bfloat16", tolerance=2e-2),
        *extra,
    ]


def _margin_targets(reduction, id):
    return Sample(
        "soft_margin_loss", lambda: [torch.randn(3, 4), torch.randn(3, 4).sign(), reduction], id=id, grad=(0,)
    )


def _cross_entropy(name, reduction, weight=None, pos_weight=None, shape=(3, 4), **options):
    logits = name.endswith("logits")

    def arguments():
        x, target = torch.randn(shape), torch.rand(shape)
        parts = [x if logits else x.sigmoid(), target, None if weight is None else torch.rand(weight) + 0.5]
        if logits:
            parts.append(None if pos_weight is None else torch.rand(pos_weight) + 0.5)
        return [*parts, reduction]

    return Sample(name, arguments, grad=(0, 1), **options)


def _certain():
    """Probabilities 0 and 1, where the logarithm is limited to -100."""
    return [torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0]), None, 0]


def _cross_entropy_gradient(reduction, weight=None, **options):
    def arguments():
        grad = torch.randn((3, 4) if reduction == 0 else ())
        parts = [torch.randn(3, 4).sigmoid(), torch.rand(3, 4)]
        return [grad, *parts, None if weight is None else torch.rand(weight) + 0.5, reduction]

    return Sample("binary_cross_entropy_backward", arguments, grad=(0, 1, 2), **options)


def _certain_gradient():
    """Probabilities at and near 0 and 1, where PyTorch's second derivative is limited."""
    x = torch.tensor([0.0, 1.0, 0.0, 1.0, 1e-9, 0.5])
    return [torch.randn(6), x, torch.tensor([0.0, 1.0, 1.0, 0.0, 0.3, 0.6]), None, 0]


def _nll(
    name,
    shape,
    reduction,
    weight=False,
    ignore_index=-100,
    dtype=torch.float32,
    targets=torch.int64,
    **options,
):
    classes = shape[1] if len(shape) > 1 else shape[0]

    def arguments():
        x = torch.randn(shape).log_softmax(min(1, len(shape) - 1)).to(dtype)
        target = torch.randint(0, classes, [s for d, s in enumerate(shape) if d != min(1, len(shape) - 1)])
        if target.numel() > 2:
            target.view(-1)[1] = ignore_index
        return [
            x,
            target.to(targets),
            (torch.rand(classes) + 0.5).to(dtype) if weight else None,
            reduction,
            ignore_index,
        ]

    return Sample(name, arguments, grad=(0,), **options)


def _all_ignored(reduction):
    return lambda: [torch.randn(2, 3), torch.tensor([-100, -100]), None, reduction, -100]


def _impossible_classes():
    """-inf where the target is not: it must not spread."""
    x = torch.randn(3, 4)
    x[:, 0] = -torch.inf
    return [x, torch.tensor([1, 2, 3]), None, 1, -100]


SAMPLES = [
    *_pairs("mse_loss"),
    *_pairs("smooth_l1_loss", 0.7),
    *_pairs("huber_loss", 1.3),
    *_pairs("soft_margin_loss", extra=[_margin_targets(1, "signs")]),
    *(
        sample
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits")
        for sample in (
            _cross_entropy(name, 1, grad2=True),
            _cross_entropy(name, 0, weight=(3, 4), id="none"),
            _cross_entropy(name, 2, weight=(4,), id="weight"),
        )
    ),
    Sample("binary_cross_entropy", _certain, id="certain", grad=(0, 1)),
    _cross_entropy_gradient(1, grad2=True),
    _cross_entropy_gradient(0, weight=(3, 4), id="none", grad2=True),
    _cross_entropy_gradient(2, weight=(4,), id="weight"),
    Sample("binary_cross_entropy_backward", _certain_gradient, id="certain", grad=(0, 1, 2)),
    _cross_entropy("binary_cross_entropy_with_logits", 1, pos_weight=(4,), id="pos_weight", grad2=True),
    _cross_entropy("binary_cross_entropy_with_logits", 0, (3, 4), (4,), id="both weights"),
    _nll("nll_loss_forward", (5, 4), 1, grad2=True),
    _nll("nll_loss_forward", (5, 4), 1, weight=True, id="weight", grad2=True),
    _nll("nll_loss_forward", (5, 4), 0, weight=True, id="none", grad2=True),
    _nll("nll_loss_forward", (5, 4), 0, id="none without weight"),
    _nll("nll_loss_forward", (5, 4), 2, weight=True, id="sum"),
    _nll("nll_loss_forward", (5, 4), 1, ignore_index=2, id="ignore class 2"),
    _nll("nll_loss_forward", (4,), 1, weight=True, id="one target"),
    _nll("nll_loss_forward", (4,), 0, weight=True, id="one target none"),
    _nll("nll_loss_forward", (0, 4), 1, id="no targets"),
    _nll("nll_loss_forward", (5, 4), 1, ignore_index=2, targets=torch.uint8, id="uint8 targets"),
    _nll("nll_loss_forward", (5, 4), 1, dtype=torch.bfloat16, id="bfloat16"),
    Sample("nll_loss_forward", _all_ignored(1), id="all ignored", grad=()),
    Sample("nll_loss_forward", _all_ignored(2), id="all ignored sum", grad=(0,)),
    Sample("nll_loss_forward", _impossible_classes, id="impossible classes", grad=(0,)),
    _nll("nll_loss2d_forward", (2, 4, 3, 2), 1, weight=True, grad2=True),
    _nll("nll_loss2d_forward", (2, 4, 3, 2), 0, id="none"),
    _nll("nll_loss2d_forward", (2, 4, 3, 2), 2, id="sum"),
]
