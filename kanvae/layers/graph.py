"""KAN layers on graphs: GraphKAN (Zhang and Zhang 2024, arXiv 2406.13597)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kanvae.layers.function_layer import check_whole
from kanvae.layers.kan import KANLinear


class GraphKAN(nn.Module):
    """A graph convolution of KAN layers, y = d + sum_k f_k(T_k(M) x), k from 0 to K - 1.

    Row n of x holds the features of node n. M = -D^(-1/2) A D^(-1/2) is the scaled Laplacian of the
    graph with the adjacency matrix A and degrees D, and T_k the Chebyshev polynomials: f_0 sees a
    node itself, f_1 what comes from its neighbours, f_k what comes from k steps away.

    As in the public GraphKan, whose ChebConv has KAN layers for matrices: a KAN layer for each k,
    and a bias that is zero at first. Its networks have a LayerNorm and a ReLU between two such
    layers, and its authors advise the norm. With `nn.Linear` it is the graph network's own layer.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        steps: K, 1 or more; with 1 nodes do not see each other.
        make: makes a layer, called with (I, O).
        options: of these layers.

    Raises:
        ValueError: `steps` below 1, or widths or options that the layers refuse.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        steps: int = 2,
        make: Callable[..., nn.Module] = KANLinear,
        **options: Any,
    ) -> None:
        super().__init__()
        check_whole("steps", steps, 1)
        self.layers = nn.ModuleList(
            make(in_features, out_features, **options) for _ in range(steps)
        )
        like = next(self.layers[0].parameters())
        self.bias = nn.Parameter(like.new_zeros(out_features))

    def forward(self, x: Tensor, edges: Tensor, weight: Tensor | None = None) -> Tensor:
        """Features of nodes (N, I) -> (N, O).

        Args:
            x: (N, I). Several graphs are one, of which no edge leads from part to part.
            edges: (2, E) whole numbers, the nodes from which and to which edges lead. A neighbour
                in both directions takes two edges; those from a node to itself are left out.
            weight: (E,) of the edges, 0 or more; 1 by default.

        Raises:
            ValueError: shapes that do not fit, or edges of nodes that are not there.
        """
        links = scaled_laplacian(edges, weight, x)
        before, value = x, x
        y = self.layers[0](x) + self.bias
        for k, layer in enumerate(self.layers[1:], start=1):
            step = links @ value
            before, value = value, step if k == 1 else 2 * step - before
            y = y + layer(value)
        return y


def scaled_laplacian(edges: Tensor, weight: Tensor | None, x: Tensor) -> Tensor:
    """-D^(-1/2) A D^(-1/2) as a sparse matrix (N, N), with the dtype of `x` (N, I).

    A weighs the edges to a node, its row, and D holds the sums of edges from a node: of a graph
    whose edges lead both ways this is L - 1 for the symmetric normalised Laplacian L.

    Args:
        edges: (2, E) whole numbers.
        weight: (E,), 1 by default.
        x: (N, I) features of the nodes.

    Raises:
        ValueError: shapes that do not fit, or edges of nodes that are not there.
    """
    nodes = len(x)
    if edges.ndim != 2 or len(edges) != 2 or edges.is_floating_point():
        raise ValueError(f"edges have shape {tuple(edges.shape)}: give whole numbers (2, E).")
    if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < nodes:
        raise ValueError(
            f"edges lead from node {int(edges.min())} to node {int(edges.max())}, but x holds the "
            f"nodes 0 to {nodes - 1}: count nodes from 0."
        )
    weight = x.new_ones(edges.shape[1]) if weight is None else weight
    if weight.shape != edges.shape[1:]:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}: give one number an edge, ({edges.shape[1]},)."
        )
    others = edges[0] != edges[1]
    (source, target), weight = edges[:, others], weight[others].to(x.dtype)
    degree = x.new_zeros(nodes).index_add(0, source, weight)
    root = torch.where(degree > 0, degree, 1).rsqrt() * (degree > 0)  # 0 for nodes without edges
    values = -root[source] * weight * root[target]
    places = torch.stack((target, source))
    return torch.sparse_coo_tensor(places, values, (nodes, nodes), check_invariants=False)
