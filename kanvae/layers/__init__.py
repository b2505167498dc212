"""The layers, one kind a file: each takes `(in_features, out_features, **options)`."""

from kanvae.layers.chebyshev import ChebyshevLinear
from kanvae.layers.function_layer import FunctionLayer
from kanvae.layers.gaussian import GaussianLinear
from kanvae.layers.jacobi import JacobiLinear
from kanvae.layers.kan import KANLinear
from kanvae.layers.rational import RationalLinear
from kanvae.layers.shared import SharedKANLinear
from kanvae.layers.wavelet import WaveletLinear

__all__ = [
    "ChebyshevLinear", "FunctionLayer", "GaussianLinear", "JacobiLinear", "KANLinear",
    "RationalLinear", "SharedKANLinear", "WaveletLinear",
]  # fmt: skip
