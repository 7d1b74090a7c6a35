# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What requires a gradient, which outputs carry one, and which arguments get one."""

import torch

from tests.frontend.calling.case import CASES, case
from tests.oracle import leaf, numbers, of_leaf, plain


def _mixes(a, b):
    return a.cos(), b.sin(), a * b


for _name, _make in {
    "both": plain(lambda: leaf(3), lambda: leaf(3)),
    "first": plain(lambda: leaf(3), lambda: numbers(3)),
    "second": plain(lambda: numbers(3), lambda: leaf(3)),
    "none": plain(lambda: numbers(3), lambda: numbers(3)),
}.items():
    CASES[f"requires_grad_{_name}"] = (_mixes, _make)


@case(plain(lambda: leaf(3, 4), lambda: leaf(3, 4)))
def detach_inside(x, y):
    return x * y.detach() + (x * 2).detach() * y


@case(plain(lambda: leaf(3, 4)))
def no_grad_inside(x):
    h = x.tanh()
    with torch.no_grad():
        s = h.sum()
    return h * s, s


@case(plain(lambda: leaf(3, 4)))
def return_view_under_no_grad(x):
    h = x.tanh()
    with torch.no_grad():
        v = h.view(-1)
        w = x[0]
    return v, h, w


@case(plain(lambda: leaf(3, 4)))
def return_only_view_under_no_grad(x):
    with torch.no_grad():
        v = x.tanh().t()
    return v, x * 2


@case(plain(lambda: leaf(3, 4), lambda: leaf(3, 4)))
def argument_without_gradient(x, y):
    return x.sin() + y.detach()


@case(plain(lambda: leaf(3, 4)))
def zero_gradient(x):
    return x.floor() * 2, x.sin()


@case(plain(lambda: leaf(3, 4), lambda: leaf(4), lambda: leaf()))
def broadcasting(x, y, z):
    return x * y + z


@case(plain(lambda: leaf(3, 4)))
def integer_and_bool_outputs(x):
    return x.argmax(1), x > 0, x * 2


@case(plain(lambda: leaf(3)))
def used_twice(x):
    y = x.exp()
    return y * y + y


@case(of_leaf(lambda a: [a.t(), a[0], a.view(-1)], 3, 4))
def views_as_arguments(x, y, z):
    return x.sin().sum() + y.exp() * z[3]


@case(plain(lambda: leaf(4, 6)))
def slices_of_slices(x):
    return x[0, :2].sin(), x[1:3, ::2].flatten()[1:3] * 2, x.view(2, 2, 6)[0, :, 1:3].exp()


@case(plain(lambda: leaf(3, 4), lambda: leaf(3, 4)))
def return_value_that_is_computed_again_for_the_backward(x, y):
    other = x - y
    return x + y, (x + y).sin(), other, (other * 2).sin()
