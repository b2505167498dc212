"""How thoroughly an evaluation looks."""

from __future__ import annotations

from dataclasses import dataclass

from kanvae.evaluation.samples import NEIGHBOURS
from kanvae.layers.function_layer import check_choice, check_text, check_whole

KINDS = ("grayscale", "binarized")


@dataclass(frozen=True)
class Settings:
    """How thoroughly `evaluate` looks, checked when made.

    Args:
        features: names with commas between them, "none", or "auto" for the set's own classifier.
        frechet_images: "grayscale", "binarized" (real images and samples) or both with a comma.
        frechet_samples: images in a set of samples; 20,000 in the paper.
        frechet_seeds: sets of samples; 5 in the paper.
        fidelity_samples: images in a set for kernel distance, precision, recall, density and
            coverage, and for what a classifier recognises; 0 for none of these.
        importance_samples: latents an image of the bound on the likelihood.
        likelihood_images: the first so many of the test set, for that bound.
        plane_images: the first so many of the test set, for the silhouette of their t-SNE plane; 0
            for none.
        weights: "last", or "best" for those of the epoch with the best validation ELBO.

    Raises:
        ValueError: a number below its least, unknown kinds of images or weights.
    """

    features: str = "auto"
    frechet_images: str = "grayscale"
    frechet_samples: int = 20_000
    frechet_seeds: int = 5
    fidelity_samples: int = 0
    importance_samples: int = 100
    likelihood_images: int = 1000
    plane_images: int = 0
    weights: str = "last"

    def __post_init__(self) -> None:
        for name in ("frechet_seeds", "importance_samples", "likelihood_images"):
            check_whole(name, getattr(self, name), 1)
        check_whole("frechet_samples", self.frechet_samples, 2)  # they have a covariance
        if self.fidelity_samples != 0:
            check_whole("fidelity_samples", self.fidelity_samples, NEIGHBOURS + 2)
        if self.plane_images != 0:
            check_whole("plane_images", self.plane_images, 100)  # three times its neighbours
        for name in ("features", "frechet_images"):
            check_text(name, getattr(self, name))
        for kind in self.kinds:
            check_choice("frechet_images", kind, KINDS)
        check_choice("weights", self.weights, ("last", "best"))

    @property
    def kinds(self) -> list[str]:
        """The kinds of images."""
        return self.frechet_images.split(",")
