# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutional networks: residual, mobile (depthwise), encoder-decoder with skips, variational autoencoder.

Structures and default sizes are those of the published networks; the models of `MODELS` are the same on small images.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.model import Batch, Model, Noise


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, with a shortcut around them that adapts its shape where it has to."""

    def __init__(self, channels: int, features: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, features, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != features:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, features, 1, stride, bias=False), nn.BatchNorm2d(features)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out, inplace=True)


class ResNet18(nn.Module):
    """Images (N, 3, H, W) -> logits (N, classes)."""

    def __init__(self, width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks = []
        channels = width
        for level in range(4):
            features = width * 2**level
            blocks += [ResidualBlock(channels, features, 2 if level else 1)]
            blocks += [ResidualBlock(features, features, 1)]
            channels = features
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv(images)), inplace=True)
        x = self.blocks(F.max_pool2d(x, 3, 2, 1))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class SqueezeExcite(nn.Module):
    """Each channel times a gate that sees the mean of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(channels // 4, 8), 1)
        self.excite = nn.Conv2d(max(channels // 4, 8), channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))
        return x * F.hardsigmoid(gate)


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise, 1x1 to fewer; around it a shortcut where shapes are equal."""

    def __init__(
        self,
        channels: int,
        features: int,
        kernel: int,
        stride: int,
        hidden: int,
        activation: type[nn.Module],
        squeeze: bool,
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and channels == features
        layers: list[nn.Module] = []
        if hidden != channels:
            layers += [nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), activation()]
        depthwise = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        layers += [depthwise, nn.BatchNorm2d(hidden), activation()]
        if squeeze:
            layers += [SqueezeExcite(hidden)]
        layers += [nn.Conv2d(hidden, features, 1, bias=False), nn.BatchNorm2d(features)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layers(x)
        return x + out if self.residual else out  # type: ignore[no-any-return]


class MobileNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, classes); from the blocks of MobileNetV2 and of V3.

    A block is (hidden channels, features, kernel, stride, "relu6" or "hardswish", squeeze-excite or not).
    """

    V3_SMALL = (
        (16, 16, 3, 2, "relu6", True),
        (72, 24, 3, 2, "relu6", False),
        (88, 24, 3, 1, "relu6", False),
        (96, 40, 5, 2, "hardswish", True),
        (240, 40, 5, 1, "hardswish", True),
        (240, 40, 5, 1, "hardswish", True),
        (120, 48, 5, 1, "hardswish", True),
        (144, 48, 5, 1, "hardswish", True),
        (288, 96, 5, 2, "hardswish", True),
        (576, 96, 5, 1, "hardswish", True),
        (576, 96, 5, 1, "hardswish", True),
    )
    # A block of each kind, narrow. No relu6 before a depthwise convolution: batch norm after it undoes any scale, so
    # that the gradient of the scale before it is nothing but rounding errors.
    TINY = (
        (16, 16, 3, 1, "relu6", False),
        (48, 24, 3, 2, "hardswish", False),
        (72, 24, 5, 1, "hardswish", True),
        (72, 32, 5, 2, "hardswish", True),
    )

    def __init__(
        self, blocks: tuple[tuple[int, int, int, int, str, bool], ...] = V3_SMALL, classes: int = 1000
    ) -> None:
        super().__init__()
        activations = {"relu6": nn.ReLU6, "hardswish": nn.Hardswish}
        layers: list[nn.Module] = [
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.Hardswish(),
        ]
        channels = 16
        for hidden, features, kernel, stride, activation, squeeze in blocks:
            layers += [
                InvertedResidual(channels, features, kernel, stride, hidden, activations[activation], squeeze)
            ]
            channels = features
        layers += [nn.Conv2d(channels, 6 * channels, 1, bias=False), nn.BatchNorm2d(6 * channels)]
        self.features = nn.Sequential(*layers, nn.Hardswish())
        self.head = nn.Sequential(
            nn.Linear(6 * channels, 8 * channels), nn.Hardswish(), nn.Linear(8 * channels, classes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))  # type: ignore[no-any-return]


class TwoConvolutions(nn.Sequential):
    """3x3 convolution, norm and relu, twice."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__(
            *(nn.Conv2d(channels, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU(inplace=True)),
            *(nn.Conv2d(features, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU(inplace=True)),
        )


class UNet(nn.Module):
    """Images (N, 3, H, W) -> logits per pixel (N, classes, H, W).

    On the way up a transposed convolution, or bilinear upsampling, meets what the way down had at that size.
    """

    def __init__(self, width: int = 64, depth: int = 4, classes: int = 2, bilinear: bool = False) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.first = TwoConvolutions(3, width)
        self.down = nn.ModuleList(TwoConvolutions(a, b) for a, b in pairwise(widths))
        self.grow = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(2 * w, w, 1))
            if bilinear
            else nn.ConvTranspose2d(2 * w, w, 2, stride=2)
            for w in reversed(widths[:-1])
        )
        self.up = nn.ModuleList(TwoConvolutions(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.first(images)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        for grow, up in zip(self.grow, self.up, strict=True):
            x = up(torch.cat([skips.pop(), grow(x)], 1))
        return self.head(x)  # type: ignore[no-any-return]


class VAE(nn.Module):
    """Images (N, channels, 4 S, 4 S) in [0, 1] -> (logits of their reconstruction, mean and log variance of the code).

    The code is drawn from the distribution that the encoder says, by reparametrization.
    """

    def __init__(self, channels: int = 1, width: int = 32, side: int = 7, code: int = 20) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1)),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(2 * width * side**2, 2 * code)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(code, 2 * width * side**2), nn.ReLU(), nn.Unflatten(1, (2 * width, side, side))),
            *(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU()),
            nn.ConvTranspose2d(width, channels, 3, 2, 1, output_padding=1),
        )
        self.noise = Noise()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, 1)
        code = mean
        if self.training:
            code = mean + torch.exp(0.5 * log_variance) * self.noise(mean)
        return self.decoder(code), mean, log_variance


def vae_loss(output: tuple[torch.Tensor, torch.Tensor, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Reconstruction error plus the code's divergence from the normal distribution, per image."""
    logits, mean, log_variance = output
    error = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return (error + divergence) / images.shape[0]


def images_and_labels(size: int, generator: torch.Generator, side: int = 32, classes: int = 10) -> Batch:
    """Images with a class each."""
    images = torch.randn(size, 3, side, side, generator=generator)
    return Batch((images,), (torch.randint(0, classes, (size,), generator=generator),))


def _images_and_masks(size: int, generator: torch.Generator) -> Batch:
    images = torch.randn(size, 3, 16, 16, generator=generator)
    return Batch((images,), (torch.randint(0, 2, (size, 16, 16), generator=generator),))


def _digits(size: int, generator: torch.Generator) -> Batch:
    images = torch.rand(size, 1, 12, 12, generator=generator)
    return Batch((images,), (images,))


# Few elements: the more there are, the likelier one lies so near a kink of its activation, or two so near each other in
# a maximum, that rounding decides which gradient it gets. Of those that are left, batch norm needs several per channel.
#
# Many steps where batch norm amplifies rounding errors: over 3 of them eager's own are not known well enough to compare
# with (docs/design/003-numbers.md).
RESNET18 = Model(
    "resnet18",
    lambda: ResNet18(width=8, classes=10),
    lambda size, generator: images_and_labels(size, generator, side=64),
    F.cross_entropy,
    static_size=2,
    dynamic_sizes=(5, 7, 6),
    steps=18,
)
MOBILENET = Model(
    "mobilenet",
    lambda: MobileNet(MobileNet.TINY, classes=10),
    lambda size, generator: images_and_labels(size, generator, side=16),
    F.cross_entropy,
    dynamic_sizes=(5, 7, 6),
    steps=18,
)
UNET = Model(
    "unet", lambda: UNet(width=8, depth=2), _images_and_masks, F.cross_entropy, static_size=2, steps=18
)
UNET_BILINEAR = Model(
    "unet-bilinear",
    lambda: UNet(width=8, depth=2, bilinear=True),
    _images_and_masks,
    F.cross_entropy,
    static_size=2,
    steps=18,
)
VARIATIONAL = Model("vae", lambda: VAE(width=8, side=3, code=4), _digits, vae_loss)

MODELS = (RESNET18, MOBILENET, UNET, UNET_BILINEAR, VARIATIONAL)
