"""The layers, one kind a file: each takes `(in_features, out_features, **options)`."""

from kanvae.layers.grid import check_layer
from kanvae.layers.kan import KANLinear
from kanvae.layers.shared import SharedKANLinear

__all__ = ["KANLinear", "SharedKANLinear", "check_layer"]
