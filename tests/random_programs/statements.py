# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a random program is made of: templates of lines, filled in with the tensors that exist so far.

In a template, `{f}` is a float tensor, `{n}` one of numbers, `{i}` of int64, `{b}` of bools, `{a}` any. `{f.with}`: one
that broadcasts with the first; `{f.into}`: one that broadcasts into the first; `{f.same}`: one of its shape; other
relations are in `_RELATIONS`. `{d}`: a dimension of the first, `{k}`: its size; `{c}`: a constant. `{v}`: a new name.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from tests.random_programs.program import Statement

VALUES = (
    # pointwise
    *(
        "sin({f})",
        "cos({f})",
        "tanh({f})",
        "sigmoid({f})",
        "erf({f})",
        "atan({f})",
        "relu({f})",
        "square({f})",
    ),
    *("exp(-{f}.abs())", "sqrt({f}.abs() + 0.5)", "log({f}.abs() + 0.5)", "rsqrt({f}.abs() + 0.5)"),
    *("reciprocal({f}.abs() + 0.5)", "log1p({f}.abs())", "expm1({f}.tanh())", "sign({n})", "floor({f})"),
    *("neg({n})", "abs({n})", "clamp({n}, -1, 2)", "clamp({f}, min={c})", "pow({n}, 2)", "pow({f}, 3)"),
    *("{n} + {c}", "{f} * {c}", "{c} - {n}", "{n} * 2", "{f} / {c}", "{i} % 3", "{i} // 2"),
    *("F.gelu({f})", "F.silu({f})", "F.softplus({f})", "F.leaky_relu({f}, 0.1)", "F.elu({f})"),
    *("F.hardtanh({f})", "F.gelu({f}, approximate='tanh')", "nan_to_num({f})"),
    *("trunc({f})", "round({f})", "ceil({f})", "frac({f})", "sinh({f})", "asinh({f})", "float_power({f}, 2)"),
    *(
        "F.mish({f})",
        "F.hardswish({f})",
        "F.logsigmoid({f})",
        "F.selu({f})",
        "F.softsign({f})",
        "F.glu({f}, {d})",
    ),
    *(
        "F.softshrink({f}, 0.3)",
        "F.threshold({f}, 0.1, -1)",
        "F.relu6({f})",
        "signbit({f})",
        "{i} << 1",
        "{i} >> 1",
    ),
    *("remainder({f}, 1.5)", "fmod({f}, 1.5)", "bitwise_not({i})"),
    # of two
    *("{n} + {n.with}", "{n} - {n.with}", "{n} * {n.with}", "{f} * {f.with}", "{f} + {f.with}"),
    *("{f} / ({f.with}.abs() + 0.5)", "maximum({f}, {f.with})", "minimum({n}, {n.with})"),
    *("add({n}, {n.with}, alpha=2)", "atan2({f}, {f.with}.abs() + 0.5)", "addcmul({f}, {f.with}, {f.with})"),
    *("lerp({f}, {f.same}, 0.3)", "sub({f}, {i.with})", "{f} * {b.with}"),
    *(
        "lerp({f}, {f.same}, {f.same})",
        "hypot({f}, {f.with})",
        "logaddexp({f}, {f.with})",
        "copysign({f}, {f.with})",
    ),
    *("xlogy({f}.abs(), {f.with}.abs() + 0.5)", "{n}.add({n.with})", "rsub({f}, {f.with})"),
    # comparisons and logic
    *("{f} < {f.with}", "{f} >= {c}", "{i} == {i.with}", "{n} != 0", "{n} > {n.with}", "logical_not({a})"),
    *("{b} & {b.with}", "{b} | {b.with}", "{b} ^ {b.with}", "~{b}", "{i} & {i.with}", "isnan({f})"),
    # choices
    *("where({b}, {f.with}, {f.with})", "where({b}, {f.with}, {c})", "where({f} > 0, {f}, {f.with})"),
    *("{f}.masked_fill({b.into}, {c})", "{i}.masked_fill({b.into}, 7)"),
    # reductions
    *("sum({a}, {d})", "sum({f}, {d}, keepdim=True)", "{n}.sum()", "mean({f}, {d})", "{f}.mean()"),
    *("amax({f}, {d})", "amin({f}, {d}, keepdim=True)", "max({f}, {d}).values", "min({f}, {d}).values"),
    *("argmax({f}, {d})", "logsumexp({f}, {d})", "prod({f}, {d})", "var({f}, {d}, correction=0)"),
    *("any({b}, {d})", "all({b}, {d})", "cumsum({f}, {d})", "cumsum({i}, {d})", "std({f}, {d})"),
    *("linalg.vector_norm({f})", "{a}.sum(({d},))"),
    *(
        "argmin({f}, {d})",
        "cummax({f}, {d}).values",
        "cumprod({f}, {d})",
        "logcumsumexp({f}, {d})",
        "{n}.prod()",
    ),
    *("count_nonzero({a}, {d})", "diff({f}, dim={d})", "linalg.vector_norm({f}, 1, {d})", "trace({f})"),
    *("mean({f}, ({d},), keepdim=True)", "{n}.amax()", "argsort({f}, {d}, stable=True)"),
    # layers
    *("softmax({f}, {d})", "log_softmax({f}, {d})", "F.layer_norm({f}, {f0}.shape[-1:])"),
    *("matmul({f}, {f.matmul})", "F.linear({f}, {f.linear})", "{f} @ {f.matmul}", "outer({f}, {f.with})"),
    *(
        "F.conv1d({f}, {f.same}, padding=1)",
        "F.conv2d({f}[None], {f.same}[None], padding=1)",
        "bmm({f}, {f.same}.mT)",
    ),
    *(
        "F.max_pool1d({f}, 2)",
        "F.avg_pool1d({f}, 2)",
        "F.max_pool2d({f}, 2)",
        "F.adaptive_avg_pool1d({f}, 2)",
    ),
    *("F.interpolate({f}, scale_factor=2)", "F.group_norm({f}, 1)", "F.rms_norm({f}, {f0}.shape[-1:])"),
    *(
        "F.batch_norm({f}, None, None, training=True)",
        "F.normalize({f}, dim={d})",
        "F.mse_loss({f}, {f.same})",
    ),
    "F.batch_norm({f}, {f.channels}, {f.channels}, training=True)",
    *(
        "F.cosine_similarity({f}, {f.same}, {d})",
        "F.smooth_l1_loss({f}, {f.same})",
        "einsum('ij,ij->j', {f}, {f.same})",
    ),
    *(
        "F.cross_entropy({f}, {i.rows} % {f0}.shape[1])",
        "F.binary_cross_entropy_with_logits({f}, {f.same}.sigmoid())",
    ),
    *(
        "F.scaled_dot_product_attention({f}, {f.same}, {f.same})",
        "addmm({f}, {f}, {f.matmul})",
        "mv({f}, {f.matmul})",
    ),
    *("einsum('...i,...i->...', {f}, {f.same})", "F.one_hot({i} % 4, 4)"),
    # joining and laying out
    *("cat([{a}, {a.same}], {d})", "stack([{a}, {a.same}], {d})", "cat([{f}, {f.same}, {f.same}], {d})"),
    *("flip({a}, [{d}])", "roll({a}, 1, {d})", "{a}.repeat_interleave(2, {d})", "tril({f})", "triu({f}, 1)"),
    *("F.pad({f}, (1, 2))", "F.pad({f}, (0, 1), value={c})", "{a}.clone()", "{a}.contiguous()"),
    *(
        "tile({a}, (2,))",
        "diag_embed({f})",
        "diag({f})",
        "{a}.expand(2, *{a0}.shape).contiguous()",
    ),
    *(
        "F.pad({f}, (1, 1), mode='circular')",
        "F.pad({f}, (1, 1), mode='replicate')",
        "select_scatter({a}, {a.row}, 0, 0)",
    ),
    *("slice_scatter({f}, {f}[1:] * 2, 0, 1)", "diagonal_scatter({f}, {f}.diagonal() * 2)"),
    # picking
    *(
        "index_select({a}, {d}, {i.flat} % {k})",
        "gather({f}, {d}, {i.same} % {k})",
        "{a}[{i} % {a0}.shape[0]]",
    ),
    *("take_along_dim({f}, {i.same} % {k}, {d})", "F.embedding({i} % {f.matrix}.shape[0], {f.matrix})"),
    *("index_add({f}, {d}, torch.arange({k}).flip(0), {f.same})", "scatter({f}, {d}, {i.same} % {k}, {c})"),
    *("scatter_add({f}, {d}, {i.same} % {k}, {f.same})",),
    *("scatter_reduce({f}, {d}, {i.same} % {k}, {f.same}, 'sum')", "{f}.masked_scatter({b.same}, {f.same})"),
    *(
        "scatter_reduce({f}, {d}, {i.same} % {k}, {f.same}, 'amax')",
        "bucketize({f}, torch.arange(-2.0, 3.0))",
    ),
    "index_put({f}, ({i.flat} % {f0}.shape[0],), {f.row}, accumulate=True)",
    # what is drawn is certain
    *(
        "F.dropout({f}, 0.0)",
        "F.dropout({f}, 1.0)",
        "F.dropout({f}, 0.5) * 0",
        "rand_like({f}).floor() + {f}",
    ),
    *(
        "torch.randint(3, 4, {a}.shape)",
        "bernoulli({f}.detach() * 0 + 1)",
        "{f} + torch.randn_like({f0}) * 0",
    ),
    # functions that hold others
    *(
        "checkpoint(block, {f}, {f.same}, use_reentrant=False)",
        "checkpoint(block, {f}, {f.with}, use_reentrant=False)",
    ),
    *("choose({f}.sum() > 0, {f0}, {f.same})", "Skewed.apply({f}, {f.same})[1]"),
    # making
    *(
        "zeros_like({a})",
        "ones_like({f})",
        "full_like({f}, {c})",
        "{f}.new_zeros({f0}.shape)",
        "zeros({shape})",
    ),
    *("arange({a}.shape[0])", "full({shape}, {c})", "ones({shape}, dtype=torch.float64)"),
)
"""Expressions. What begins with a bare name is in `torch`."""

CASTS = (
    *(torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16, torch.float16),
    *(torch.int32, torch.uint8, torch.int8),
)

HALF = (torch.bfloat16, torch.float16)

VIEWS = (
    *(
        "{a}[{r}]",
        "{a}.select({d}, 0)",
        "{a}.select({d}, -1)",
        "{a}[..., None]",
        "{a}[None]",
        "{a}[..., ::2]",
    ),
    *("{a}.narrow({d}, 1, {k} - 1)", "{a}.transpose(0, {d})", "{a}.t()", "{a}.mT", "{a}.movedim(0, -1)"),
    *("{a}.permute({perm})", "{a}.view(-1)", "{a}.reshape(-1)", "{a}.flatten()", "{a}.unsqueeze({d})"),
    *("{a}.squeeze({d})", "{a}.expand(2, *{a0}.shape)", "{a}.expand_as({a.same})", "{a}.view_as({a.same})"),
    *(
        "{a}.diagonal()",
        "{a}.diagonal(1)",
        "{a}.detach()",
        "{a}[:]",
        "{a}.view({a0}.shape)",
        "{a}.unfold({d}, 2, 1)",
    ),
    *("{a}.as_strided((2, 2), (1, 1))", "{a}.as_strided((2,), (2,), 1)", "{a}.unflatten({d}, (-1, {k}))"),
    *("{a}.reshape({k}, -1)", "{a}.to({a0}.dtype)", "{a}.detach()[{r}]", "{a}.squeeze()", "{a}.ravel()"),
    *(
        "{a}.unbind({d})[-1]",
        "{a}.split(1, {d})[0]",
        "{a}.swapaxes(0, {d})",
        "{a}.unsqueeze(0).squeeze(0)",
    ),
    *(
        "{a}.expand(2, *{a0}.shape)[1]",
        "{a}.unfold({d}, 2, 1)[0]",
        "{a}.as_strided((2, 3), (1, 1))",
        "{a}.contiguous()",
    ),
)

SEVERAL = (
    *(
        "{v}, {w} = {a}.chunk(2, {d})",
        "{v}, {w} = {a}.split([1, {k} - 1], {d})",
        "{v}, {w} = torch.max({f}, {d})",
    ),
    *("{v}, {w} = {a}.tensor_split(2, {d})", "{v}, {w} = {a}.unbind({d})", "{v}, {w} = {f}.aminmax(dim={d})"),
    *("{v}, {w} = {a}.split({k} - 1, {d})", "{v}, {w} = torch.var_mean({f}, {d}, correction=0)"),
    *(
        "{v}, {w} = {f}.sort({d})",
        # Which of equal elements come first is not defined; a ramp sets them apart.
        "{v}, {w} = ({f} + torch.arange({f.same}.numel()).view({f.same}.shape) / 8).topk({k}, {d})",
        "{v}, {w} = {a}[None].expand(2, *{a0}.shape)",
    ),
    *("{v}, {w} = Skewed.apply({f}, {f.same})", "{v}, {w} = torch.std_mean({f}, {d}, correction=0)"),
)

WRITES = (
    *(
        "{n}.add_({n.into})",
        "{n}.mul_({n.into})",
        "{n}.sub_({c})",
        "{n}.mul_(2)",
        "{n}.add_(1)",
        "{f}.mul_({c})",
    ),
    *("{f}.div_({f.into}.abs() + 0.5)", "{a}.copy_({a.into})", "{a}.copy_({n.into})", "{a}.zero_()"),
    *("{f}.fill_({c})", "{n}.fill_(2)", "{f}.relu_()", "{f}.clamp_(-1, 1)", "{f}.tanh_()", "{f}.sin_()"),
    *("{f}.sigmoid_()", "{n}.neg_()", "{n}.abs_()", "{f}.masked_fill_({b.into}, {c})", "{b}.logical_not_()"),
    *(
        "{b}.logical_and_({b.into})",
        "{n}.clamp_(min=0)",
        "{f}.addcmul_({f.into}, {f.into})",
        "{f}.lerp_({f.same}, 0.3)",
    ),
    *("{f}.index_fill_({d}, {i.flat} % {k}, {c})", "{f}.index_add_({d}, torch.arange({k}), {f.same})"),
    *("{f}.scatter_({d}, {i.same} % {k}, {c})", "{f}.index_copy_({d}, torch.arange({k}).flip(0), {f.same})"),
    *("{f}.scatter_add_({d}, {i.same} % {k}, {f.same})", "{f}.exp_().clamp_(max=2)", "{f}.data.mul_({c})"),
    *(
        "{a}[{r}] = {c}",
        "{a}[{r}] = {a.row}",
        "{a}[...] = {n.into}",
        "{a}[0] = {a}[-1]",
        "{f}[{r}] = {f}[{r}] * 2",
    ),
    *(
        "{f}[{b.into}] = {c}",
        "{f}[{i.flat} % {f0}.shape[0]] = {c}",
        "{n}[:, 0] = {n.row}",
        "{n}[..., ::2] += 1",
    ),
    *("{n} += {n.into}", "{n} *= 2", "{f}.detach().add_({c})", "{f}.transpose(0, {d}).mul_({c})"),
    *(
        "torch.add({f}, {f.same}, out={f.same})",
        "torch.sin({f}, out={f.same})",
        "torch.sum({f} * 1, 0, out={f.reduced})",
    ),
    *(
        "torch.mul({f}, {f.same}, out={f.same})",
        "{f}.pow_(2)",
        "{f}.round_()",
        "{f}.cumsum_({d})",
    ),
    *(
        "{f}.index_put_(({i.flat} % {f0}.shape[0],), {f.row}, accumulate=True)",
        "{f}.floor_()",
    ),
    *(
        "{f}.masked_scatter_({b.same}, {f.same} * 1)",
        "{f}.bernoulli_(1)",
        "{f}.normal_(0, 0)",
        "{f}.uniform_(2, 2)",
    ),
    *(
        "{f}.copy_({f.same}.detach())",
        "{a}[1:] = {a}[:-1].clone()",
        "{n}[{r}].neg_()",
    ),
    *(
        "{f}.unfold({d}, 2, 2).mul_(2)",
        "{f}.as_strided((2,), (2,), 1).add_(1)",
        "{f}.expand_as({f.same}).mul_(2)",
    ),
    *("{f}.view(-1)[1:].add_({c})", "{n}.diagonal().add_(1)", "{f}.select({d}, 0).copy_({f.row})"),
)

CONSTANTS = ("0.5", "2", "-1.25", "3", "0", "-0.75", "1")

DISCRETE = re.compile(
    r"[<>=!]=|[<>]|floor|sign|arg|sort|topk|max|min|abs|relu|clamp|logical|hardtanh|!=|isnan|trunc|round|ceil|frac"
    r"|mod|remainder|shrink|threshold|l1_loss|norm\(|bucketize|count_nonzero|choose|block|hardswish|bool"
)
"""Lines that jump or have a kink: in bfloat16, where they do hangs on roundings."""

_PLACE = re.compile(r"{([a-z]+)(0?)(?:\.([a-z]+))?}")
_BARE = re.compile(r"^(?!F\.|torch\.|checkpoint|choose)(?=[a-z_.0-9]+\()")


@dataclass
class Scope:
    """The tensors that exist, by name, and the dice."""

    dice: random.Random
    tensors: Mapping[str, torch.Tensor]
    new_name: Callable[[], str]

    def pick(self, kind: str, fits: Callable[[torch.Tensor], bool] = lambda t: True) -> str | None:
        """A name, more often a late one; None if there is none."""
        names = [n for n, t in self.tensors.items() if _KINDS[kind](t) and fits(t)]
        if not names:
            return None
        return names[max(self.dice.randrange(len(names)), self.dice.randrange(len(names)))]


_KINDS: dict[str, Callable[[torch.Tensor], bool]] = {
    "f": lambda t: t.dtype.is_floating_point,
    "n": lambda t: t.dtype != torch.bool,
    "i": lambda t: t.dtype == torch.int64,
    "b": lambda t: t.dtype == torch.bool,
    "a": lambda t: True,
}


def _broadcasts(shape: torch.Size, other: torch.Size, into: bool) -> bool:
    try:
        together = torch.broadcast_shapes(shape, other)
    except RuntimeError:
        return False
    return together == shape if into else True


_RELATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], bool]] = {
    "with": lambda first, t: _broadcasts(first.shape, t.shape, into=False),
    "into": lambda first, t: _broadcasts(first.shape, t.shape, into=True),
    "same": lambda first, t: first.shape == t.shape,
    "row": lambda first, t: _broadcasts(first.shape[1:], t.shape, into=True),
    "reduced": lambda first, t: t.shape == first.shape[1:],
    "flat": lambda first, t: t.dim() == 1,
    "rows": lambda first, t: t.dim() == 1 and first.dim() > 0 and t.shape[0] == first.shape[0],
    "channels": lambda first, t: t.dim() == 1 and first.dim() > 1 and t.shape[0] == first.shape[1],
    "matrix": lambda first, t: t.dim() == 2,
    "matmul": lambda first, t: (
        t.dim() > 0 and first.dim() > 0 and t.shape[-2 if t.dim() > 1 else 0] == first.shape[-1]
    ),
    "linear": lambda first, t: t.dim() == 2 and first.dim() > 0 and t.shape[1] == first.shape[-1],
}


def fill(template: str, scope: Scope, prefer: str | None = None) -> str | None:
    """The line; None if no tensors fit. `prefer`: the first tensor, if it fits."""
    chosen: dict[str, str] = {}
    first: torch.Tensor | None = None
    missing = False

    def place(match: re.Match[str]) -> str:
        nonlocal first, missing
        word, again, relation = match.groups()
        key = match[0].replace("0", "")
        if word in _KINDS and (again or relation == "matrix") and key in chosen:
            return chosen[key]
        if word in _KINDS:
            name: str | None
            if first is None:
                fits = prefer is not None and _KINDS[word](scope.tensors[prefer])
                name = prefer if fits else scope.pick(word)
            elif relation is None:
                name = chosen.get(key) or scope.pick(word)
            else:
                known = first
                name = scope.pick(word, lambda t: _RELATIONS[relation](known, t))
            if name is None:
                missing = True
                return ""
            first = scope.tensors[name] if first is None else first
            chosen[key] = name
            return name
        detail = _detail(word, scope, first, chosen)
        missing = missing or detail is None
        return detail or ""

    text = _PLACE.sub(place, template)
    return None if missing else text


def _detail(word: str, scope: Scope, first: torch.Tensor | None, chosen: dict[str, str]) -> str | None:
    """What is no tensor."""
    dice = scope.dice
    if word in ("v", "w"):
        return scope.new_name()
    if word == "c":
        return dice.choice(CONSTANTS)
    if word == "shape":
        return str([dice.choice((1, 2, 3, 4)) for _ in range(dice.randrange(3))])
    if first is None or not first.dim():
        return None
    if word == "d":
        chosen.setdefault("d", str(dice.randrange(-first.dim(), first.dim())))
        return chosen["d"]
    if word == "k":
        dim = chosen.setdefault("d", "0")
        return f"{next(iter(chosen.values()))}.shape[{dim}]"
    if word == "perm":
        return str(dice.sample(range(first.dim()), first.dim()))[1:-1]
    assert word == "r", word
    return _index(dice, first.shape)


def _index(dice: random.Random, shape: torch.Size) -> str:
    """A subscript of ints and slices."""
    parts = []
    for size in shape[: dice.randrange(1, len(shape) + 1)]:
        start = dice.randrange(-max(size - 1, 1), max(size, 1))
        ways = (
            str(dice.randrange(size)) if size else ":",
            ":",
            f"{start}:",
            f":{start}",
            "1:3",
            "::2",
            "1:-1",
        )
        parts.append(dice.choice(ways))
    return ", ".join(parts)


def value(template: str, scope: Scope) -> Statement | None:
    """A new tensor from an expression."""
    text = fill(_BARE.sub("torch.", template), scope)
    return None if text is None else Statement(f"{scope.new_name()} = {text}")


def cast(scope: Scope) -> Statement | None:
    """A change of dtype. What only rounds is a copy in float64."""
    name = scope.pick("a")
    if name is None:
        return None
    old = scope.tensors[name].dtype
    new = scope.dice.choice(CASTS)
    if {old, new}.intersection(HALF) and not new.is_floating_point:
        return None  # what is discrete would hang on roundings
    if new in (torch.uint8, torch.int8) and old.is_floating_point:
        return None  # what becomes of -1.5 as a uint8 is not defined
    target = scope.new_name()
    rounds = old.is_floating_point and new.is_floating_point and old != new
    return Statement(f"{target} = {name}.to({new})", exact=f"{target} = {name}.clone()" if rounds else "")
