"""The layers, one kind a file: each takes (in_features, out_features, **options)."""

from kanvae.layers.kan import KANLinear, check_layer

__all__ = ["KANLinear", "check_layer"]
