"""A KAN layer written for checking, not for speed: the recursion on every input, no closed form.

Its parameters have the names and shapes of the public efficient-kan layer, and it does the same
operations, so that it is also what the benchmarks measure against.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ReferenceKAN(nn.Module):
    def __init__(self, in_features, out_features, grid_size, spline_order, grid_range):
        super().__init__()
        low, high = grid_range
        step = (high - low) / grid_size
        knots = torch.arange(-spline_order, grid_size + spline_order + 1) * step + low
        self.order = spline_order
        self.register_buffer("grid", knots.repeat(in_features, 1))
        self.base_weight = nn.Parameter(torch.randn(out_features, in_features))
        size = (out_features, in_features, grid_size + spline_order)
        self.spline_weight = nn.Parameter(torch.randn(size))
        self.spline_scaler = nn.Parameter(torch.randn(out_features, in_features))

    def bases(self, x: Tensor) -> Tensor:
        t, point = self.grid, x[..., None]
        value = ((t[:, :-1] <= point) & (point < t[:, 1:])).to(x.dtype)
        for k in range(1, self.order + 1):
            up = (point - t[:, : -k - 1]) / (t[:, k:-1] - t[:, : -k - 1]) * value[..., :-1]
            down = (t[:, k + 1 :] - point) / (t[:, k + 1 :] - t[:, 1:-k]) * value[..., 1:]
            value = up + down
        return value

    def forward(self, x: Tensor) -> Tensor:
        weight = self.spline_weight * self.spline_scaler[..., None]
        spline = F.linear(self.bases(x).flatten(-2), weight.flatten(-2))
        return F.linear(F.silu(x), self.base_weight) + spline
