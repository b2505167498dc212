"""The KAN-VAE book's module: B-splines, Kolmogorov-Arnold layers, variational auto-encoders."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kanvae.architectures import Architecture
    from kanvae.layers import KANLinear, SharedKANLinear
    from kanvae.models import VAE, Decoder, Encoder

__all__ = ["VAE", "Architecture", "Decoder", "Encoder", "KANLinear", "SharedKANLinear"]

_PLACES = {"Architecture": "architectures", "KANLinear": "layers", "SharedKANLinear": "layers"}


def __getattr__(name: str) -> Any:
    """A name or a module of this package, on first use: torch is slow to load, not all needs it."""
    if name in __all__:
        return getattr(import_module(f"kanvae.{_PLACES.get(name, 'models')}"), name)
    if find_spec(f"kanvae.{name}"):
        return import_module(f"kanvae.{name}")
    raise AttributeError(f"module 'kanvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
