# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The generator against published vectors; what functionalize makes of random ops: distributions, masks, bits."""

import math

import pytest
import torch

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir, passmanager
from flambeau.pipelines.lower_to_torch import LowerToTorch
from flambeau.pipelines.passes.functionalize import Functionalize
from flambeau.runtime import interpreter
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.errors import BackendNotAvailableError
from flambeau.runtime.interpreter.evaluators.random import threefry2x32
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec
from tests.dialects.sample import Sample, add_function, single

# Random123's known answers for threefry2x32 with 20 rounds: key, counter, result.
VECTORS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]
COUNT = 40_000
# Five standard errors of the correlation of independent numbers.
UNCORRELATED = 5 / math.sqrt(COUNT)
SEED = torch.tensor([12345, -678], dtype=torch.int32)


@pytest.fixture(autouse=True)
def context():
    with create_context() as context, ir.Location.unknown():
        yield context


@pytest.mark.parametrize(("key", "counter", "expected"), VECTORS)
def test_known_answers(key, counter, expected):
    words = threefry2x32(*key, torch.tensor(counter[0]), counter[1])
    assert tuple(int(w) for w in words) == expected


def draw(name, *values, seed=SEED, dynamic=False):
    """Results of a random op after functionalize."""
    return draw_module(Sample(name, lambda: values), dynamic)(seed)


def draw_module(sample, dynamic=False):
    module = single(sample, sample.values(), dynamic=dynamic)
    Functionalize().run(module)
    assert module.operation.verify()
    tensors = [v for v in sample.values() if isinstance(v, torch.Tensor)]
    return lambda seed: interpreter.run(module, "f", [*tensors, seed])


def correlation(x, y):
    return abs(float(torch.corrcoef(torch.stack([x.flatten().double(), y.flatten().double()]))[0, 1]))


# name, arguments, mean, standard deviation, least, greatest value
DISTRIBUTIONS = [
    ("rand", ([COUNT], torch.float32), 0.5, math.sqrt(1 / 12), 0.0, 1 - 2**-24),
    ("rand", ([COUNT], torch.float64), 0.5, math.sqrt(1 / 12), 0.0, 1 - 2**-52),
    ("rand", ([COUNT], torch.float16), 0.5, math.sqrt(1 / 12), 0.0, 1 - 2**-11),
    ("rand", ([COUNT], torch.bfloat16), 0.5, math.sqrt(1 / 12), 0.0, 1 - 2**-8),
    ("rand_like", (torch.empty(COUNT), torch.float32), 0.5, math.sqrt(1 / 12), 0.0, 1 - 2**-24),
    ("randn", ([COUNT], torch.float32), 0.0, 1.0, -6.0, 6.0),
    ("randn", ([COUNT], torch.float64), 0.0, 1.0, -7.0, 7.0),
    ("randn_like", (torch.empty(COUNT), torch.bfloat16), 0.0, 1.0, -6.0, 6.0),
    ("uniform", (torch.empty(COUNT), -2.0, 6.0), 2.0, 8 * math.sqrt(1 / 12), -2.0, 6.0),
    ("normal_functional", (torch.empty(COUNT), 3.0, 0.5), 3.0, 0.5, 0.0, 6.0),
    ("normal", (torch.full([COUNT], 3.0), torch.full([COUNT], 0.5)), 3.0, 0.5, 0.0, 6.0),
    ("exponential", (torch.empty(COUNT), 2.0), 0.5, 0.5, 1e-9, 20.0),
    ("exponential", (torch.empty(COUNT, dtype=torch.float16), 2.0), 0.5, 0.5, 0.0, 20.0),
    ("bernoulli_p", (torch.empty(COUNT), 0.25), 0.25, math.sqrt(0.1875), 0.0, 1.0),
    ("bernoulli", (torch.full([COUNT], 0.9),), 0.9, 0.3, 0.0, 1.0),
    ("randint", (-3, 9, [COUNT], torch.int64), 2.5, math.sqrt((12**2 - 1) / 12), -3, 8),
    ("randint_like", (torch.empty(COUNT), 0, 256, torch.uint8), 127.5, math.sqrt((256**2 - 1) / 12), 0, 255),
    ("randint", (0, 2**32, [COUNT], torch.int64), 2.0**31, 2.0**32 / math.sqrt(12), 0, 2**32 - 1),
]


@pytest.mark.parametrize(
    ("name", "values", "mean", "deviation", "least", "greatest"),
    DISTRIBUTIONS,
    ids=[f"{d[0]}-{i}" for i, d in enumerate(DISTRIBUTIONS)],
)
def test_distribution(name, values, mean, deviation, least, greatest):
    (x,) = draw(name, *values)
    dtype = values[-1] if isinstance(values[-1], torch.dtype) else values[0].dtype
    assert x.dtype == dtype
    x = x.double()
    # Five standard errors of the mean; the deviation's own error is of the same order.
    assert abs(float(x.mean()) - mean) < 5 * deviation / math.sqrt(COUNT) + (
        2**-9 if dtype is torch.bfloat16 else 0
    )
    assert abs(float(x.std()) / deviation - 1) < 0.03
    assert float(x.min()) >= least
    assert float(x.max()) <= greatest
    assert correlation(x[:-1], x[1:]) < UNCORRELATED  # neighbours


def test_normal_quantiles():
    (z,) = draw("randn", [COUNT], torch.float32)
    for sigma, outside in ((1, 0.31731), (2, 0.04550), (3, 0.00270)):
        found = float((z.abs() > sigma).double().mean())
        assert abs(found - outside) < 5 * math.sqrt(outside / COUNT)


def test_uniform_is_flat():
    (u,) = draw("rand", [COUNT], torch.float32)
    counts = torch.histc(u.double(), 64, 0, 1)
    chi_squared = float(((counts - COUNT / 64) ** 2 / (COUNT / 64)).sum())
    assert chi_squared < 120  # 63 degrees of freedom: exceeded once in 50,000 seeds


def test_seeds_and_offsets_are_independent():
    sample = Sample("rand", lambda: [[COUNT], torch.float32])
    function = draw_module(sample)
    (first,) = function(SEED)
    assert torch.equal(first, function(SEED)[0])
    for other in ([12346, -678], [12345, -677], [-678, 12345]):
        assert correlation(first, function(torch.tensor(other, dtype=torch.int32))[0]) < UNCORRELATED


TWO_DRAWS = """
func.func @f(%x: tensor<?x50xf32>) -> (tensor<?x50xf32>, tensor<?x50xi1>, tensor<?x50xf32>, tensor<?x50xi1>) {
  %a, %m = "flambeau.native_dropout"(%x) {p = 3.0e-01 : f64, train = true}
    : (tensor<?x50xf32>) -> (tensor<?x50xf32>, tensor<?x50xi1>)
  %b, %n = "flambeau.native_dropout"(%x) {p = 3.0e-01 : f64, train = true}
    : (tensor<?x50xf32>) -> (tensor<?x50xf32>, tensor<?x50xi1>)
  return %a, %m, %b, %n : tensor<?x50xf32>, tensor<?x50xi1>, tensor<?x50xf32>, tensor<?x50xi1>
}
"""


def test_stateful_ops_are_neither_merged_nor_removed():
    unused = TWO_DRAWS.replace("return %a, %m, %b, %n", "return %a, %m, %x, %m").replace("}\n", "}\n", 1)
    for text, count in ((TWO_DRAWS, 2), (unused, 2)):
        module = ir.Module.parse(text)
        passmanager.PassManager.parse("builtin.module(cse,canonicalize,cse)").run(module.operation)
        assert str(module).count("flambeau.native_dropout") == count


def test_equal_draws_stay_two_after_functionalize():
    module = ir.Module.parse(TWO_DRAWS)
    Functionalize().run(module)
    passmanager.PassManager.parse("builtin.module(cse,canonicalize)").run(module.operation)
    x = torch.randn(COUNT // 50, 50)
    a, m, b, n = interpreter.run(module, "f", [x, SEED])
    assert correlation(m.double(), n.double()) < UNCORRELATED
    for out, mask in ((a, m), (b, n)):
        assert abs(float(mask.double().mean()) - 0.7) < 5 * math.sqrt(0.21 / COUNT)
        assert torch.equal(out, x * mask * (1.0 / (1.0 - 0.3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout_equals_eager_with_the_mask(dtype, p):
    x = torch.randn(64, 33, dtype=dtype)
    out, mask = draw("native_dropout", x, p, True)
    assert out.dtype == dtype
    assert mask.dtype == torch.bool
    scale = 1.0 / (1.0 - p) if p < 1 else 0.0
    assert torch.equal(out, x.mul(mask).mul_(scale))  # as native_dropout computes it
    if p in (0.0, 1.0):
        assert bool((mask == (p == 0.0)).all())


def test_dropout_in_eval_is_the_identity():
    x = torch.randn(3, 4)
    out, mask = draw("native_dropout", x, 0.5, False)
    assert torch.equal(out, x)
    assert bool(mask.all())


on_each_device = pytest.mark.parametrize("backend", ["cpu", "vulkan", "cuda"])


def compiled(module, backend):
    """Lower and compile a module; call the result with function name, arguments and tensors like the results."""
    record = lookup_backend(backend)
    try:
        device = find_device(record)
    except BackendNotAvailableError as error:
        pytest.skip(str(error))
    LowerToTorch().run(module)
    executable = Executable(compile_module(str(module), record), device)
    return lambda name, arguments, like: executable.function(name, [ResultSpec(t.dtype) for t in like])(
        arguments
    )


@on_each_device
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiled_masks_are_the_interpreters(dynamic, backend):
    sample = Sample("native_dropout", lambda: [torch.randn(7, 9, 3), 0.4, True])
    module = single(sample, sample.values(), dynamic=dynamic)
    Functionalize().run(module)
    x = sample.values()[0]
    expected = interpreter.run(module, "f", [x, SEED])
    out, mask = compiled(module, backend)("f", [x, SEED], expected)
    assert torch.equal(mask, expected[1])
    assert torch.equal(out, expected[0])


@on_each_device
def test_compiled_distributions_are_the_interpreters(backend):
    module = ir.Module.create()
    names = []
    floats = [torch.float32, torch.float16, torch.bfloat16]
    # No normal float64: its cosine has no compiled form.
    for op, dtypes in (("rand", [*floats, torch.float64]), ("randn", floats)):
        for dtype in dtypes:
            names.append(f"{op}_{len(names)}")
            sample = Sample(op, lambda dtype=dtype: [[64, 5], dtype])
            add_function(module, names[-1], sample, sample.values(), dynamic=False)
    Functionalize().run(module)
    expected = {name: interpreter.run(module, name, [SEED]) for name in names}
    call = compiled(module, backend)
    for name in names:
        (found,) = call(name, [SEED], expected[name])
        if name.startswith("rand_"):
            assert torch.equal(found, expected[name][0])
        else:
            torch.testing.assert_close(found, expected[name][0])
