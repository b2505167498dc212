"""`python -m kanvae` on little work, for the benchmarks that kill it: `small.py search ...`.

All is real but the amount: the first 320 images of MNIST, three small architectures, few samples.
Workers import this file as the main module, notebooks by its name, so that it holds for them too.
"""

import runpy

from kanvae import Architecture, data, evaluation
from kanvae.studies import paper, reproduce

IMAGES = 320
ARCHITECTURES = ("kan-8-4", "vae-40-4", "kan-9-4")
load = data.load


def first_images(*arguments, **options):
    """The first images of any set that `data.load` gives."""
    images = load(*arguments, **options)
    return type(images)(*(field[:IMAGES].clone() for field in images))


data.load = first_images
paper.EPOCHS = 20
paper.TABLE_I = tuple(paper.Row(key, Architecture.parse(key), 1.0, 1) for key in ARCHITECTURES)
reproduce.SETTINGS = evaluation.Settings(
    features="digits", frechet_samples=100, importance_samples=2, likelihood_images=20
)

if __name__ == "__main__":
    runpy.run_module("kanvae", run_name="__main__", alter_sys=False)
