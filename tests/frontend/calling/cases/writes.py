# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes to arguments, temporaries and views."""

import torch

from tests.frontend.calling.case import case
from tests.oracle import leaf, numbers, of_leaf, plain


@case(plain(lambda: numbers(3, 4)))
def write_input(x):
    x.add_(1)
    return x * 2


@case(plain(lambda: numbers(3, 4)))
def write_and_return_input(x):
    x.mul_(2)
    return x


@case(plain(lambda: numbers(3, 4)))
def read_before_and_after_a_write(x):
    before = x.exp()
    x.add_(1)
    x.mul_(3)
    return before + x, x.exp()


@case(plain(lambda: numbers(3, 4), lambda: numbers(4)))
def write_two_inputs(x, y):
    x.add_(y)
    y.sub_(x.sum(0))
    return x @ y


@case(plain(lambda: numbers(4, 4)))
def write_through_views(x):
    x[0].add_(1)
    x[:, 1].mul_(2)
    x.t()[2].sub_(3)
    x[1:3, ::2].fill_(7)
    x.view(-1)[5] = 9
    return x.sum()


@case(plain(lambda: numbers(6, 4).t()))
def write_transposed_input(x):
    x.add_(1)
    return x + 1


@case(plain(lambda: numbers(8, 4)[::2, 1:3]))
def write_strided_input(x):
    x.add_(1)
    return x * 2


@case(plain(lambda: numbers(2, 3, 4, 4).to(memory_format=torch.channels_last)))
def write_channels_last_input(x):
    x.add_(1)
    return x * 2, torch.relu(x)


@case(plain(lambda: numbers(3, 4), lambda: numbers(3, 4)))
def copy_into_input(x, y):
    x.copy_(y * 2)
    return None


@case(plain(lambda: numbers(3, 4), lambda: numbers(3, 4, dtype=torch.float64)))
def write_with_another_dtype(x, y):
    x.add_(y)
    return x


@case(plain(lambda: numbers(3, 4), lambda: numbers(3, 4)))
def write_with_out_argument(x, y):
    torch.add(y, 1, out=x)
    return x + 1


@case(plain(lambda: torch.zeros((), dtype=torch.int64), lambda: numbers(3)))
def write_counter(steps, x):
    steps.add_(1)
    return x * steps


@case(plain(lambda: numbers(3, 4)))
def write_temporary(x):
    y = x * 2
    y.add_(1)
    y[0].mul_(3)
    y.t()[1] = 0
    return y


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_non_leaf(x):
    y = x.sin()
    x.mul_(2)
    return (x * y).sum()


@case(of_leaf(lambda a: [(b := a * 1), b], 3, 4))
def write_non_leaf_passed_twice(x, y):
    x.mul_(2)
    return x * y


@case(of_leaf(lambda a: [a * 1, a * 3], 3, 4))
def write_one_non_leaf_with_another(x, y):
    x.mul_(y)
    return x.sin()


@case(plain(lambda: numbers(3, 4), lambda: leaf(3, 4)))
def written_input_starts_to_require_grad(x, y):
    x.mul_(y)
    return x.exp()


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_view_of_non_leaf(x):
    x[0].mul_(2)
    x[:, 1:].add_(x[:, :-1] * 2)
    return x.sin()


@case(plain(lambda: leaf(3, 4), lambda: numbers(3, 4)))
def write_under_no_grad(p, x):
    with torch.no_grad():
        p.add_(x)
    return (p * x).sum()


@case(plain(lambda: leaf(3, 4), lambda: numbers(3, 4)))
def write_through_detach(p, x):
    y = p * x
    p.detach().add_(1)
    return y.sum()


@case(plain(lambda: leaf(4), lambda: numbers(4)))
def write_element_under_no_grad(p, x):
    with torch.no_grad():
        p[1] = 5.0
        p[2:].mul_(2)
    return (p.sin() * x).sum()


@case(of_leaf(lambda a: [a * 1], 4))
def write_seen_and_unseen(x):
    x.mul_(3)
    with torch.no_grad():
        x.add_(1)
    return x.sin()


@case(plain(lambda: numbers(4), lambda: leaf(4)))
def write_seen_then_unseen_of_what_requires_grad(x, w):
    """The unseen write gives the argument no history."""
    x.clamp_(-1, 1)
    with torch.no_grad():
        x.add_(w)
    return x, w * 2


@case(of_leaf(lambda a: [a.sin()], 4))
def unseen_write_then_use(x):
    with torch.no_grad():
        x.zero_()
    return x.exp()


@case(plain(lambda: leaf(3, 4), lambda: numbers(3, 4), lambda: numbers(3, 4)))
def optimizer_step(p, g, momentum):
    with torch.no_grad():
        momentum.mul_(0.9).add_(g)
        p.add_(momentum, alpha=-0.1)
    return None


@case(plain(lambda: numbers(4), lambda: leaf(4)))
def write_input_not_used_otherwise(x, w):
    x.copy_(w.detach())
    return w * 2


@case(plain(lambda: leaf(3, 4)))
def write_into_new_tensor(x):
    y = torch.zeros(5, 4)
    y[1:4] = x
    y[0, ::2] = x[0, :2]
    y.diagonal().add_(1)
    return y


@case(plain(lambda: leaf(3, 4)))
def write_rows_of_new_tensor(x):
    y = torch.empty(3, 4)
    for i in range(3):
        y[i] = x[i] * 2 if i == 0 else x[i] + y[i - 1]
    return y


@case(plain(lambda: numbers(3, 4)))
def write_where_mask(x):
    x.masked_fill_(x > 0.5, 7.0)
    x[torch.tensor([0, 2]), torch.tensor([1, 1])] += 1.0
    return x.sum()


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_to_detached_alias(x):
    d = x.detach()
    d.add_(1)
    return d, x * 2


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_two_views_of_temporary(x):
    y = x * 2
    a, b = y[0], y[1]
    a.add_(b)
    return a, b, y.sum()


@case(plain(lambda: leaf(4), lambda: leaf(4), lambda: leaf(4)))
def overwrite_what_requires_grad(x, y, z):
    """Its gradient is zeros, not none."""
    a, b = x.exp(), z.exp()
    a.copy_(y)
    b.zero_()
    return a, b.cos()


@case(of_leaf(lambda a: [a * 1], 3, 4))
def overwrite_input_that_requires_grad(x):
    x.fill_(2)
    return x.sin()


@case(plain(lambda: torch.zeros(2, 8, 4), lambda: numbers(2, 1, 4)))
def write_into_cache(cache, key):
    cache[:, 3:4] = key
    return cache[:, :4].sum(1)


@case(plain(lambda: numbers(3, 4)))
def base_written_through_another_view(x):
    base = x.ceil()
    flat, view = base.ravel(), base[:]
    flat.sub_(3)
    return base, view


@case(plain(lambda: leaf(3, 4)))
def differentiated_base_written_through_another_view(x):
    base = x.sin()
    flat, view = base.ravel(), base[:]
    flat.sub_(3)
    return base, view


@case(plain(lambda: numbers(3, 4), lambda: leaf(1, 4), lambda: leaf(4)))
def write_one_of_repeated_elements(x, y, z):
    x.expand(2, 3, 4)[1].mul_(2)
    x.unfold(1, 3, 1)[:, 1].add_(1)
    y = y * 1
    y.expand(3, 4)[2, 1:].mul_(z[1:])
    z = z * 1
    windows = z.unfold(0, 2, 1)
    windows[1].copy_(y[0, :2])
    windows.select(1, 1)[2:].mul_(3)
    return x.sum(), y, z


@case(plain(lambda: leaf(3, 3)))
def write_by_ops_that_pytorch_traces_in_python(x):
    y = x * x
    y.addcmul_(x.amax(-1), y)
    z = x.detach().half()
    z.normal_(0, 0)
    drawn = x * 1
    drawn.uniform_(2, 2)
    return y, z, drawn


@case(plain(lambda: numbers(0, 3), lambda: numbers(3)))
def write_empty(x, y):
    x.add_(y)
    return x
