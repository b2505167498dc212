"""The KAN-VAE book's module: B-splines, Kolmogorov-Arnold layers, variational auto-encoders."""

from kanvae.layers import KANLinear
from kanvae.models import VAE, Architecture

__all__ = ["VAE", "Architecture", "KANLinear"]
