"""The KAN-VAE book's module: B-splines, Kolmogorov-Arnold layers, variational auto-encoders."""

from kanvae.architectures import Architecture
from kanvae.layers import KANLinear, SharedKANLinear
from kanvae.models import VAE, Decoder, Encoder

__all__ = ["VAE", "Architecture", "Decoder", "Encoder", "KANLinear", "SharedKANLinear"]
