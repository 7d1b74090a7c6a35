# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What comes out: arguments, views, shared memory, layouts."""

import torch

from tests.frontend.calling.case import case
from tests.oracle import leaf, numbers, of_leaf, plain


@case(plain(lambda: leaf(3, 4)))
def return_input(x):
    return x, x * 2


@case(plain(lambda: leaf(3, 4)))
def return_view_of_input(x):
    return x.t(), x[1], x.view(2, 6)


@case(plain(lambda: numbers(3, 4)))
def return_view_of_input_without_grad(x):
    return x[1:, ::2], x.unsqueeze(0), x.expand(2, 3, 4)


@case(of_leaf(lambda a: [a * 1], 3, 4))
def return_view_of_non_leaf(x):
    return x.t(), x * 2


@case(of_leaf(lambda a: [a * 1], 3, 4))
def return_view_of_written_non_leaf(x):
    x.mul_(2)
    return x.t(), x


@case(plain(lambda: numbers(3, 4)))
def return_view_of_written_input(x):
    x.mul_(2)
    return x[0]


@case(plain(lambda: numbers(3, 4)[1:]))
def return_view_of_view_argument(x):
    return x[1:, 1:], x.t()


@case(plain(lambda: leaf(3, 4)))
def return_detached_input(x):
    return x.detach(), x * 2


@case(plain(lambda: leaf(3, 4)))
def return_value_and_its_view(x):
    y = x * 2
    return y, y.t()


@case(plain(lambda: leaf(3, 4)))
def return_views_only(x):
    y = x * 2
    return y.t(), y[1]


@case(plain(lambda: leaf(3, 4)))
def return_view_before_value(x):
    y = x.sin()
    return y[0], y


@case(plain(lambda: leaf(3, 4)))
def return_value_and_detached(x):
    y = x.sin()
    return y.detach(), y


@case(plain(lambda: leaf(3, 4)))
def return_detached_transposed(x):
    y = (x + 1).t()
    return y.detach(), y


@case(plain(lambda: leaf(3, 4)))
def return_one_view(x):
    return (x * 2).t()


@case(plain(lambda: leaf(3, 4)))
def return_slice(x):
    return (x * 2)[:, 1:3]


@case(plain(lambda: leaf(4)))
def return_expanded(x):
    return (x * 2).expand(3, 4)


@case(plain(lambda: leaf(3, 4)))
def return_clone_of_input(x):
    return x.clone(), x.sum()


@case(plain(lambda: leaf(3, 4)))
def return_clone_of_saved_value(x):
    y = x.exp()
    return y.clone()


@case(plain(lambda: leaf(3, 4)))
def return_value_and_clone(x):
    y = x * 2
    return y, y.clone(), y + 0


@case(plain(lambda: leaf(3, 4)))
def return_contiguous_copy(x):
    return x.t().contiguous(), x.t().reshape(-1), x.sin().t().reshape(-1)


@case(plain(lambda: leaf(3, 4)))
def return_two_equal_values(x):
    return x * 2, x * 2


@case(plain(lambda: leaf(3, 4)))
def return_written_view_of_temporary(x):
    y = x * 2
    z = y[0]
    z.add_(1)
    return y, z


@case(plain(lambda: leaf(6, 4)))
def return_chunks(x):
    return x.sin().chunk(2)


@case(plain(lambda: leaf(2, 4)))
def return_unbound_input(x):
    return x.unbind(0)


@case(plain(lambda: numbers(3, 4)))
def return_constants(x):
    return x + 1, None, 7, "text", (True, 2.5)


@case(plain(lambda: numbers(3, 4)))
def return_nested(x):
    return {"a": x, "b": [x + 1, (x * 2,)]}


@case(plain(lambda: numbers(3, 4)))
def return_no_tensor(x):
    x.add_(1)


@case(plain(lambda: numbers(3)))
def return_made_inside(x):
    return (
        torch.zeros(3),
        torch.full((2,), 7),
        torch.arange(4),
        torch.tensor([1.0, 2.0]),
        x * torch.tensor([1.0, 2.0, 3.0]),
    )


@case(plain(lambda: leaf(2, 3, 4, 4)))
def return_permuted(x):
    return (x * 2).permute(0, 2, 3, 1), (x + 1).to(memory_format=torch.channels_last)


@case(plain(lambda: numbers(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()))
def keep_channels_last(x):
    return x * 2, torch.relu(x), x.contiguous(), x.sum(1)


@case(plain(lambda: leaf(3, 4), lambda: numbers(4)))
def return_in_eager_layout(x, y):
    return x.t() + 1, x.t() * y[:, None], (x.t() @ x)


@case(plain(lambda: leaf(3)))
def one_output_under_two_names(x):
    """What such ops return is their argument itself, if there is nothing to do."""
    y = x.exp()
    return y.to(y.dtype), y.flatten(), y, y.contiguous().sin()


@case(plain(lambda: leaf(3, 4)))
def view_of_a_reshaped_copy(x):
    """To autograd the copy that flatten makes is no view."""
    y = x.t().flatten()
    return y, y.expand(2, 12), y[1:5]


@case(plain(lambda: leaf(3, 4)))
def strides_that_pytorch_traces_otherwise(x):
    functional = torch.nn.functional
    mean, variance = torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype)
    columns = x.t()
    return (
        functional.logsigmoid(columns),
        functional.batch_norm(columns, mean, variance, training=True),
        functional.batch_norm(columns, mean, variance),
        functional.interpolate(columns.unsqueeze(1).transpose(0, 1), size=2),
    )


@case(plain(lambda: numbers(2, 4), lambda: leaf(2, 4)))
def pooling_is_a_view_where_a_gradient_is_recorded(x, w):
    pooled, recorded = torch.nn.functional.max_pool1d(x, 2), torch.nn.functional.max_pool1d(w, 2)
    return pooled, pooled.t(), recorded, recorded.t()


@case(plain(lambda: leaf(3, 4)))
def padding_under_no_grad(x):
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (1, 2))
        least, most = x.aminmax(dim=0)
    return padded.view(-1), least[1:], most, x * 2


@case(plain(lambda: numbers(1), lambda: numbers(0), lambda: leaf(0)))
def fills_without_gaps(x, empty, w):
    """A fill of one element or none has the strides of any new tensor, and memory of its own."""
    return torch.ones_like(x), torch.full_like(empty, 2), torch.roll(empty, 1, 0), w * 2


@case(of_leaf(lambda a: [b := a.sin(), b[:], b[1:]], 3, 3))
def return_argument_that_shares_written_memory(x, y, z):
    x.mul_(2)
    return y.to(y.dtype), y.reshape(3, 3), z.contiguous(), z * 2
