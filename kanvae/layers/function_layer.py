"""What all layers of this package share: they sum functions of one input each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from numbers import Integral, Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FunctionLayer(nn.Module):
    """A drop-in for `nn.Linear` that sums functions, y_o = sum_i phi_oi(x_i); a base class.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.

    Shapes:
        input (..., I), output (..., O), for any leading dimensions, none and empty ones included.
        An input of dtype bool stands for 0 and 1.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        check_whole("in_features", in_features, 1)
        check_whole("out_features", out_features, 1)
        self.in_features = in_features
        self.out_features = out_features

    def check_input(self, x: Tensor) -> None:
        """Raise a ValueError that says what is wrong with an input (..., I), if anything is."""
        check_input(x, self.in_features, self.parameters())

    def as_float(self, x: Tensor) -> Tensor:
        """An input (..., I) as floats: zeros and ones of dtype bool take the weights' dtype."""
        return x.to(next(self.parameters()).dtype) if x.dtype == torch.bool else x

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


def check_input(x: Tensor, in_features: int, weights: Iterable[Tensor]) -> None:
    """Raise a ValueError that says what is wrong with a layer's input (..., I), if anything is.

    Where tensors stand for any others, as in a trace, nothing is looked at.
    """
    if isinstance(x, torch.fx.Proxy) or torch.jit.is_tracing():
        return
    if x.shape[-1:] != (in_features,):
        raise ValueError(
            f"the input has shape {tuple(x.shape)}; its last dimension must be "
            f"in_features = {in_features}."
        )
    if x.layout not in (torch.strided, torch.jagged):
        raise ValueError(f"the input has the layout {x.layout}: give a dense one, x.to_dense().")
    if not (x.is_floating_point() or x.dtype == torch.bool):
        raise ValueError(
            f"the input is of dtype {x.dtype}: give floats in the weights' dtype, "
            f"{next(iter(weights)).dtype}, or torch.bool for zeros and ones."
        )


def activation(make: Callable[[], nn.Module]) -> nn.Module:
    """The module that `make` makes. A ValueError unless it makes one, which does not work in place.

    A module would be shared by all layers; what writes in place writes to the caller's input.
    """
    if isinstance(make, nn.Module):
        raise ValueError(f"base_activation is the module {make}: give what makes one, nn.SiLU say.")
    made: Any
    try:
        made = make()
    except TypeError as error:
        made = error
    if not isinstance(made, nn.Module):
        raise ValueError(
            f"base_activation is {make}, which makes no module ({made}): give what makes one, "
            "nn.SiLU say."
        )
    if any(getattr(part, "inplace", False) for part in made.modules()):
        raise ValueError(f"base_activation makes {made}: leave inplace out.")
    return made


def parameter(
    *shape: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Parameter:
    """A parameter of this shape (...) whose values are yet to be set."""
    return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))


def draw_linear(
    weight: Tensor, bias: Tensor | None, generator: torch.Generator | None = None
) -> None:
    """Give a weight (O, I) and a bias (O,) the values that a new `nn.Linear` would draw."""
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    if bias is not None:
        bound = 1 / math.sqrt(weight.shape[1])
        nn.init.uniform_(bias, -bound, bound, generator=generator)


def draw_normal(weight: Tensor, std: float, generator: torch.Generator | None = None) -> None:
    """Give a weight (...) normal values around zero; none on the meta device, which has no values.

    There torch would load its compiler for it, which takes a second.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std, generator=generator)


def of_bits(x: Tensor, at_zero: Tensor, at_one: Tensor) -> Tensor:
    """The layer on zeros and ones, where every function is a line: (..., I) -> (..., O).

    Args:
        x: (..., I) of dtype bool.
        at_zero, at_one: (O, I) values of the functions phi_oi there.
    """
    return F.linear(x.to(at_one.dtype), at_one - at_zero, at_zero.sum(1))


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise a ValueError unless a setting is a whole number from `least` to `most`, below 2^63."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise ValueError(f"{name} is {value!r}: it must be a whole number, {least} or more.")
    if most is not None and int(value) > most:
        raise ValueError(f"{name} is {value}: it must be {most} or less.")
    if int(value) >= 2**63:
        raise ValueError(f"{name} is {value}: it must be below 2^63.")


def check_text(name: str, value: Any) -> None:
    """Raise a ValueError unless a setting is text."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}: give words, with commas between several.")


def check_choice(name: str, value: Any, allowed: Collection[str]) -> None:
    """Raise a ValueError unless a setting is one of these."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is {value!r}: choose one of {list(allowed)}.")


def check_shape(x: Tensor, *sizes: int | str) -> None:
    """Raise a ValueError unless x has these sizes, as in (B, T, 5); a letter stands for any."""
    fits = x.ndim == len(sizes) and all(
        isinstance(size, str) or size == own for size, own in zip(sizes, x.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"the input has shape {tuple(x.shape)}; give ({', '.join(map(str, sizes))})."
        )


def check_range(name: str, value: Any) -> None:
    """Raise a ValueError unless a setting is a pair of finite numbers, the less one first."""
    try:
        low, high = (value[place] for place in range(len(value)))
    except (TypeError, ValueError, KeyError):
        raise ValueError(
            f"{name} is {value!r}: give a pair, as in (-1.0, 1.0). What efficient-kan "
            "takes in this place, scale_noise, is given by name."
        ) from None
    if not isinstance(low, Real) or not isinstance(high, Real):
        raise ValueError(f"{name} is {value!r}: give two numbers, as in (-1.0, 1.0).")
    if not -math.inf < float(low) < float(high) < math.inf:
        raise ValueError(
            f"{name} is ({low}, {high}): it must begin below its end, as in (-1.0, 1.0)."
        )
