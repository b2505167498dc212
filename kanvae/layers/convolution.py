"""Convolutions of learnable functions: Conv-KAN (Bodner et al. 2024, arXiv 2406.13155).

A convolution is one layer that sees every patch of an image; with a KAN layer, each element of its
kernels is a function. Any layer of this package can be taken, and `nn.Linear`, with which these are
`nn.Conv2d` and `nn.ConvTranspose2d`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kanvae.layers.function_layer import check_whole
from kanvae.layers.kan import KANLinear

Make = Callable[..., nn.Module]


class _Convolution(nn.Module):
    """What both convolutions are made of: sizes, and one layer of `_widths` for all patches."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        make: Make = KANLinear,
        **options: Any,
    ) -> None:
        super().__init__()
        check_whole("in_channels", in_channels, 1)
        check_whole("out_channels", out_channels, 1)
        check_whole("kernel_size", kernel_size, 1)
        check_whole("stride", stride, 1)
        check_whole("padding", padding, 0)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.layer = make(*self._widths(), **options)

    def _widths(self) -> tuple[int, int]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class FunctionConv2d(_Convolution):
    """A convolution, y_o(h, w) = sum_cij phi_ocij(x_c(h s + i - p, w s + j - p)).

    With `KANLinear` this is the public Convolutional-KANs layer: there, one KAN layer of k^2 inputs
    and one output for each pair of channels; here, one of C k^2 inputs and O outputs, of the same
    functions. With `SharedKANLinear` a function belongs to an element of the patch, and the kernels
    share it. Beyond the edges pixels are 0, where a function need not be 0.

    Args:
        in_channels: C, 1 or more.
        out_channels: O, 1 or more.
        kernel_size: k, the side of a patch, 1 or more.
        stride: s, the step from patch to patch, 1 or more.
        padding: p, how many rows of zeros are added on each side, 0 or more.
        make: makes the layer of the patches, called with (C k^2, O).
        options: of that layer.

    Shapes:
        input (..., C, H, W), output (..., O, H', W') with H' = floor((H + 2 p - k) / s) + 1.

    Raises:
        ValueError: a size below the least that is allowed, or options that the layer refuses.
    """

    def _widths(self) -> tuple[int, int]:
        return self.in_channels * self.kernel_size**2, self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Images (..., C, H, W) -> (..., O, H', W').

        Raises:
            ValueError: images of other channels, or smaller than a patch.
        """
        _check_channels(x, self.in_channels)
        x, size, step = F.pad(x, (self.padding,) * 4), self.kernel_size, self.stride
        if min(x.shape[-2:]) < size:
            raise ValueError(
                f"images of {tuple(x.shape[-2:])} pixels, their padding included, are smaller than "
                f"a patch of {size} x {size}: give larger ones, or more padding."
            )
        patches = x.unfold(-2, size, step).unfold(-2, size, step)  # (..., C, H', W', k, k)
        patches = patches.movedim(-5, -3).flatten(-3)  # (..., H', W', C k k)
        return self.layer(patches).movedim(-1, -3)


class FunctionConvTranspose2d(_Convolution):
    """A transposed convolution: every pixel makes a patch of k x k, and patches are added up.

    A bias of the layer belongs to an element of the patch, where `nn.ConvTranspose2d` has one a
    channel.

    Args:
        in_channels: C, 1 or more.
        out_channels: O, 1 or more.
        kernel_size: k, the side of a patch, 1 or more.
        stride: s, the step from patch to patch, 1 or more.
        padding: p, how many rows are cut off on each side, 0 or more.
        make: makes the layer of the pixels, called with (C, O k^2).
        options: of that layer.

    Shapes:
        input (..., C, H, W), output (..., O, H', W') with H' = (H - 1) s - 2 p + k.

    Raises:
        ValueError: a size below the least that is allowed, or options that the layer refuses.
    """

    def _widths(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels * self.kernel_size**2

    def forward(self, x: Tensor) -> Tensor:
        """Images (..., C, H, W) -> (..., O, H', W').

        Raises:
            ValueError: images of other channels.
        """
        _check_channels(x, self.in_channels)
        patches = self.layer(x.movedim(-3, -1)).movedim(-1, -3).flatten(-2)  # (..., O k k, H W)
        step, size, cut = self.stride, self.kernel_size, self.padding
        sides = tuple((n - 1) * step - 2 * cut + size for n in x.shape[-2:])
        rows = patches.reshape(math.prod(x.shape[:-3]), *patches.shape[-2:])
        whole = F.fold(rows, sides, size, stride=step, padding=cut)
        return whole.view(*x.shape[:-3], self.out_channels, *sides)


def _check_channels(x: Tensor, channels: int) -> None:
    if x.ndim < 3 or x.shape[-3] != channels:
        raise ValueError(
            f"the input has shape {tuple(x.shape)}; give images (..., {channels}, height, width)."
        )
