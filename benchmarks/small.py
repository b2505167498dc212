"""`python -m kanvae` on little work, for the benchmarks that kill it: `small.py search ...`.

All is real but the amount: the first 320 images of MNIST, three small architectures, few samples.
Workers import this file as the main module, notebooks by its name, so that it holds for them too.
Each loads what its work needs: they are started so often that loading is most of what they do.
"""

import sys

from kanvae.studies import command

IMAGES = 320
ARCHITECTURES = ("kan-8-4", "vae-40-4", "kan-9-4")

if "sweep" not in sys.argv:  # it has no images of its own, only its notebooks have
    from kanvae import data

    load = data.load

    def first_images(*arguments, **options):
        """The first images of any set that `data.load` gives."""
        images = load(*arguments, **options)
        return type(images)(*(field[:IMAGES].clone() for field in images))

    data.load = first_images

if {"search", "reproduce"} & {*sys.argv}:
    from kanvae import Architecture, evaluation
    from kanvae.studies import paper, reproduce

    paper.EPOCHS = 20
    paper.TABLE_I = tuple(paper.Row(key, Architecture.parse(key), 1.0, 1) for key in ARCHITECTURES)
    reproduce.SETTINGS = evaluation.Settings(
        features="digits", frechet_samples=100, importance_samples=2, likelihood_images=20
    )

if __name__ == "__main__":
    command.main()
