"""Run chapters the way Colab does: a chapter alone in an empty folder, with the installed package.

python tests/run_alone.py [NAME ...]
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat

from kanvae import sweep

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SMALL = {
    "01_bsplines": {"degree": 2},
    "02_kan_layers": {"steps": 20},
    "03_vae_elbo": {"architecture": "kan-8-3", "epochs": 1, "images": 20},
    "04_training": {"architecture": "kan-8-3", "epochs": 2, "batch_size": 200},
    "05_table1": {
        "epochs": 1, "seeds": 1, "frechet_samples": 300, "frechet_seeds": 1,
        "likelihood_images": 20, "importance_samples": 2, "batch_size": 500,
    },
    "06_learning_curves": {"epochs": 1, "batch_size": 500},
    "07_latent_space": {"epochs": 1, "points": 300, "batch_size": 500},
    "08_posterior_sampling": {"epochs": 1, "batch_size": 500},
    "09_prior_sampling": {"epochs": 1, "samples": 1000, "batch_size": 500},
    "10_layer_cost": {"rounds": 1, "turn_seconds": 0.001},
}  # fmt: skip


def run_alone(chapter: Path, folder: Path) -> nbformat.NotebookNode:
    """Copy the chapter into an empty folder and execute it there with small parameters."""
    alone = folder / "alone"
    alone.mkdir()
    (alone / chapter.name).write_bytes(chapter.read_bytes())
    before = Path.cwd()
    os.chdir(alone)
    try:
        output = folder / f"executed-{chapter.name}"
        sweep.execute(chapter.name, output, SMALL[chapter.stem], progress=False)
    finally:
        os.chdir(before)
    return nbformat.read(output, as_version=4)


def main() -> None:
    """Run the chapters named, or all."""
    for name in sys.argv[1:] or SMALL:
        with tempfile.TemporaryDirectory() as folder:
            executed = run_alone(NOTEBOOKS / f"{name}.ipynb", Path(folder))
            print(f"{name}: {executed.metadata.papermill.duration:.0f} s", flush=True)


if __name__ == "__main__":
    main()
