# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random numbers as a user draws them: distributions, independence, reproducibility, the same on every device.

Seeds are fixed, so that every run judges the same numbers. Bounds are five standard errors of the statistic, or what a
right generator exceeds with one seed in a million.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import flambeau
from flambeau.runtime import devices
from tests.oracle import close

COUNT = 2**18
SIGMAS = 5.0

needs_vulkan = pytest.mark.skipif(
    not any(device.driver == "vulkan" for device in devices.available_devices()),
    reason="no Vulkan device; Debian's mesa-vulkan-drivers has a software one",
)


def compiled(function: Callable[..., Any], backend: str = "cpu", **options: Any) -> Any:
    given = {"fallback": "error", **options}
    return flambeau.compile(function, backend=backend, fullgraph=True, options=given)


def draw(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two of the uniform draws are written alike."""
    return {
        "uniform": torch.rand_like(x),
        "uniform again": torch.rand_like(x),
        "uniform float64": torch.rand_like(x, dtype=torch.float64),
        "normal": torch.randn_like(x),
        "normal in place": torch.empty_like(x).normal_(3.0, 0.5),
        "exponential": torch.empty_like(x).exponential_(2.0),
        "dropout 0.1": F.dropout(torch.ones_like(x), 0.1),
        "dropout 0.5": F.dropout(torch.ones_like(x), 0.5),
        "bernoulli 0.9": torch.bernoulli(torch.full_like(x, 0.9)),
        "integers": torch.randint(0, 1000, x.shape),
    }


@pytest.fixture(scope="module")
def calls() -> Iterator[list[dict[str, torch.Tensor]]]:
    """What three calls one after the other draw, a quarter of a million numbers of each kind."""
    torch._dynamo.reset()
    function = compiled(draw)
    torch.manual_seed(20)
    yield [function(torch.empty(COUNT)) for _ in range(3)]
    torch._dynamo.reset()


# --- Statistics ------------------------------------------------------------------------------------------------------


def standardized(x: torch.Tensor) -> torch.Tensor:
    x = x.double().flatten()
    return (x - x.mean()) / x.std()


def correlation(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((standardized(x) * standardized(y)).mean())


def normal_cdf(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * torch.erfc(-x / math.sqrt(2))


CDF: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "uniform": lambda x: x,
    "uniform float64": lambda x: x,
    "normal": normal_cdf,
    "normal in place": lambda x: normal_cdf((x - 3) / 0.5),
    "exponential": lambda x: -torch.expm1(-2 * x),
}

# Mean, variance, skewness, kurtosis (of the normal distribution: 3), and the sixth and eighth standardized moments.
MOMENTS = {
    "uniform": (1 / 2, 1 / 12, 0.0, 9 / 5, 27 / 7, 9.0),
    "uniform float64": (1 / 2, 1 / 12, 0.0, 9 / 5, 27 / 7, 9.0),
    "normal": (0.0, 1.0, 0.0, 3.0, 15.0, 105.0),
    "normal in place": (3.0, 0.25, 0.0, 3.0, 15.0, 105.0),
    "exponential": (1 / 2, 1 / 4, 2.0, 9.0, 265.0, 14833.0),
}


def chi_squared_bound(degrees: int) -> float:
    """What is exceeded once in a million (Wilson and Hilferty)."""
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + 4.7534 * math.sqrt(spread)) ** 3


def chi_squared(found: torch.Tensor, expected: float) -> float:
    return float(((found.double() - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("kind", MOMENTS)
def test_moments(kind: str, calls: list[dict[str, torch.Tensor]]) -> None:
    """The first four, with the true mean and deviation for the third and fourth."""
    mean, variance, skewness, kurtosis, sixth, eighth = MOMENTS[kind]
    x = (calls[0][kind].double() - mean) / math.sqrt(variance)
    # The variance of a mean of powers: E x^2k - (E x^k)^2, over the count.
    for power, wanted, square in (
        (1, 0.0, 1.0),
        (2, 1.0, kurtosis),
        (3, skewness, sixth),
        (4, kurtosis, eighth),
    ):
        error = math.sqrt((square - wanted**2) / COUNT)
        assert abs(float((x**power).mean()) - wanted) < SIGMAS * error, f"moment {power}"


@pytest.mark.parametrize("kind", CDF)
def test_distribution_function(kind: str, calls: list[dict[str, torch.Tensor]]) -> None:
    """Kolmogorov and Smirnov's distance."""
    values = CDF[kind](calls[0][kind].double().sort().values)
    steps = torch.arange(COUNT, dtype=torch.float64) / COUNT
    distance = max(float((values - steps).max()), float((steps + 1 / COUNT - values).max()))
    assert distance < math.sqrt(math.log(2 / 1e-6) / (2 * COUNT))


def test_tails(calls: list[dict[str, torch.Tensor]]) -> None:
    """How many normal numbers lie far out on either side."""
    z = calls[0]["normal"].double()
    for sigma in (2.0, 3.0, 3.5):
        wanted = COUNT * 0.5 * math.erfc(sigma / math.sqrt(2))
        for far in (z > sigma, z < -sigma):
            assert abs(int(far.sum()) - wanted) < SIGMAS * math.sqrt(wanted)
    assert 4 < z.abs().max() < 6


def test_every_bit_is_fair(calls: list[dict[str, torch.Tensor]]) -> None:
    for kind, digits in (("uniform", 24), ("uniform float64", 52)):
        numbers = (calls[0][kind].double() * 2.0**digits).to(torch.int64)
        ones = torch.stack([((numbers >> bit) & 1).sum() for bit in range(digits)])
        assert (ones - COUNT / 2).abs().max() < SIGMAS * math.sqrt(COUNT / 4), f"{kind}: {ones}"


@pytest.mark.parametrize("kind", ["uniform", "uniform float64"])
@pytest.mark.parametrize("distance", [1, 2, 32, 1024])
def test_pairs_fill_the_square(kind: str, distance: int, calls: list[dict[str, torch.Tensor]]) -> None:
    """Disjoint pairs of numbers at a distance in one tensor, counted in 32 x 32 cells."""
    pairs = (calls[0][kind].double() * 32).long().view(-1, 2, distance)
    counts = torch.bincount((pairs[:, 0] * 32 + pairs[:, 1]).flatten(), minlength=1024)
    assert chi_squared(counts, COUNT / 2 / 1024) < chi_squared_bound(1023)


def test_integers_are_alike(calls: list[dict[str, torch.Tensor]]) -> None:
    counts = torch.bincount(calls[0]["integers"], minlength=1000)
    assert counts.numel() == 1000
    assert chi_squared(counts, COUNT / 1000) < chi_squared_bound(999)


@pytest.mark.parametrize(
    ("kind", "ones"), [("dropout 0.1", 0.9), ("dropout 0.5", 0.5), ("bernoulli 0.9", 0.9)]
)
def test_rates(kind: str, ones: float, calls: list[dict[str, torch.Tensor]]) -> None:
    """Of all elements, and of the rows and columns of an image: these scatter as independent draws do."""
    for call in calls:
        kept = (call[kind] != 0).double()
        deviation = math.sqrt(ones * (1 - ones))
        assert abs(float(kept.mean()) - ones) < SIGMAS * deviation / math.sqrt(COUNT)
        image = kept.view(512, 512)
        for dim in (0, 1):
            z = (image.sum(dim) - 512 * ones) / (math.sqrt(512) * deviation)
            # The variance of z^2 is 2 up to the binomial's kurtosis, which is within 1 % here.
            assert abs(float(z.square().mean()) - 1) < SIGMAS * math.sqrt(2 / 512)
    values = calls[0]["dropout 0.1"].unique()
    assert torch.equal(values, torch.tensor([0.0, 1 / (1.0 - 0.1)]))


# --- Independence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uniform", "normal", "dropout 0.5", "integers"])
def test_no_autocorrelation(kind: str, calls: list[dict[str, torch.Tensor]]) -> None:
    """Of the numbers and of their squares, at distances up to 64, and at those of rows of usual lengths."""
    x = standardized(calls[0][kind])
    variants = (x, standardized(x.square())) if kind in ("uniform", "normal") else (x,)
    for lag in (*range(1, 65), 128, 256, 512, 1024, 2**16):
        for values in variants:
            found = float(values[:-lag] @ values[lag:]) / math.sqrt(COUNT - lag)
            assert abs(found) < SIGMAS, f"distance {lag}"


def test_draws_of_one_call_are_independent(calls: list[dict[str, torch.Tensor]]) -> None:
    names = list(calls[0])
    matrix = torch.stack([standardized(calls[0][name]) for name in names])
    off_diagonal = (matrix @ matrix.t() / math.sqrt(COUNT)).fill_diagonal_(0)
    assert off_diagonal.abs().max() < SIGMAS


def test_calls_are_independent(calls: list[dict[str, torch.Tensor]]) -> None:
    for kind in calls[0]:
        z = [standardized(call[kind]) for call in calls]
        for earlier, later in ((0, 1), (1, 2), (0, 2)):
            for shift in (0, 1):
                found = float(z[earlier][shift:] @ z[later][: COUNT - shift]) / math.sqrt(COUNT)
                assert abs(found) < SIGMAS, f"{kind}, shifted by {shift}"


def test_neighbouring_seeds_are_independent() -> None:
    """Correlations of 64 seeds one after the other, and how many bits they have in common."""
    function = compiled(lambda x: torch.rand_like(x), "functional")
    rows = []
    for seed in range(64):
        torch.manual_seed(seed)
        rows.append(function(torch.empty(2**14)))
    drawn = torch.stack(rows)
    z = torch.stack([standardized(row) for row in drawn])
    assert (z @ z.t() / 2**7).fill_diagonal_(0).abs().max() < SIGMAS
    bits = (drawn.double() * 2**24).long()
    differing = bits[1:] ^ bits[:-1]
    counts = sum(((differing >> bit) & 1).sum(1) for bit in range(24))
    total = 24 * 2**14
    assert (counts - total / 2).abs().max() < SIGMAS * math.sqrt(total / 4)


def test_layers_and_steps_have_masks_of_their_own() -> None:
    torch.manual_seed(0)
    model = nn.ModuleList(nn.Dropout(0.5) for _ in range(4))

    def function(x: torch.Tensor) -> list[torch.Tensor]:
        return [layer(x) for layer in model]

    step = compiled(function, "functional")
    masks = torch.stack([standardized(mask) for _ in range(4) for mask in step(torch.ones(2**14))])
    assert (masks @ masks.t() / 2**7).fill_diagonal_(0).abs().max() < SIGMAS


# --- Reproducibility -------------------------------------------------------------------------------------------------


def test_the_state_of_torchs_generator_decides() -> None:
    """A seed, a saved state, a fork: as for PyTorch's own draws, which stay in step."""
    function = compiled(lambda x: torch.rand_like(x) + F.dropout(x, 0.5), "functional")
    x = torch.ones(100)
    torch.manual_seed(3)
    first, own, second = function(x), torch.rand(5), function(x)
    state = torch.get_rng_state()
    third = function(x)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert torch.equal(function(x), first)
        assert torch.equal(torch.rand(5), own)
        assert torch.equal(function(x), second)
    fourth = function(x)
    torch.set_rng_state(state)
    assert torch.equal(function(x), third) and torch.equal(function(x), fourth)
    assert len({tuple(t.tolist()) for t in (first, second, third, fourth)}) == 4


@pytest.mark.parametrize("backend", ["partitioned", pytest.param("cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("partitioner", ["min-cut", "save-all"])
def test_the_backward_computes_the_same_numbers_again(backend: str, partitioner: str) -> None:
    """In a checkpoint everything is computed again: noise, a mask, and the weights of attention."""

    def block(x: torch.Tensor) -> torch.Tensor:
        noisy = x * torch.rand_like(x) * torch.randn_like(x)
        return F.dropout(noisy, 0.3) * torch.bernoulli(torch.full_like(x, 0.7))

    def function(x: torch.Tensor) -> torch.Tensor:
        return checkpoint(block, x, use_reentrant=False)

    step = compiled(function, backend, partitioner=partitioner)
    factors = []
    for _ in range(2):
        x = torch.linspace(1, 2, 4096).requires_grad_()
        y = step(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(gradient * x, y)  # y is linear in x
        factors.append(gradient)
    kept = float((factors[0] != 0).double().mean())
    assert abs(kept - 0.49) < SIGMAS * math.sqrt(0.49 * 0.51 / 4096)
    assert abs(correlation(*factors)) < SIGMAS / math.sqrt(4096)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_around_compiled_code_draws_the_same_numbers_again(reentrant: bool) -> None:
    """PyTorch sets its generator back and calls the function a second time."""
    step = compiled(lambda x: F.dropout(x * torch.rand_like(x), 0.3), "partitioned")
    for _ in range(2):
        x = torch.linspace(1, 2, 4096).requires_grad_()
        y = checkpoint(step, x, use_reentrant=reentrant)
        y.sum().backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad * x, y)


def exact(x: torch.Tensor) -> list[torch.Tensor]:
    """Draws that are integer arithmetic and exact conversions."""
    floats = [torch.rand_like(x, dtype=t) for t in (torch.float32, torch.float16, torch.bfloat16)]
    integers = [torch.randint(-7, 2**31, x.shape), torch.randint_like(x, 256, dtype=torch.uint8)]
    return [*floats, *integers, torch.bernoulli(torch.full_like(x, 0.3)), F.dropout(torch.ones_like(x), 0.2)]


def rounded(x: torch.Tensor) -> list[torch.Tensor]:
    """Draws whose logarithms, roots and fused products round as the device does."""
    return [torch.randn_like(x), torch.empty_like(x).uniform_(-3, 5.5), torch.empty_like(x).exponential_(2.0)]


@pytest.mark.parametrize("backend", ["cpu", pytest.param("vulkan", marks=needs_vulkan)])
def test_all_devices_draw_the_same(backend: str) -> None:
    """The interpreter's numbers: bit for bit, or within a few units in the last place of the largest."""
    runs = []
    for name in (backend, "functional"):
        torch._dynamo.reset()
        torch.manual_seed(11)
        step = compiled(lambda x: (exact(x), rounded(x)), name)
        runs.append([step(torch.empty(37, 129)) for _ in range(2)])
    for found, wanted in zip(*runs, strict=True):
        for have, want in zip(found[0], wanted[0], strict=True):
            assert have.dtype == want.dtype and torch.equal(have, want)
        for have, want in zip(found[1], wanted[1], strict=True):
            close(have, want, "numbers", ulps=4)
