"""Run chapters the way Colab does: a chapter alone in an empty folder, with the installed package.

python tests/run_alone.py [NAME ...]
"""

import sys
import tempfile
from pathlib import Path

import nbformat

from kanvae.studies import chapters

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SMALL = {
    "01_bsplines": {"degree": 2},
    "02_kan_layers": {"steps": 20},
    "03_vae_elbo": {"architecture": "kan-8-3", "epochs": 1, "test_images": 20},
    "04_training": {"architecture": "kan-8-3", "epochs": 2, "batch_size": 200},
    "05_table1": {"images": "binarized"},
    "06_learning_curves": {"smooth": 20},
    "07_latent_space": {"points": 300},
    "08_posterior_sampling": {"seed": 0},
    "09_prior_sampling": {"samples": 1000},
    "10_paper_figures": {"seed": 0},
    "17_layer_cost": {"rounds": 7, "turn_seconds": 0.001},
    "11_why": {"seed": 0},
    "12_what_we_found": {"reading": "best"},
    "13_how_many_functions": {"reading": "last"},
    "14_other_basis_functions": {"degree": 3},
    "15_convolution": {"size": 3},
    "16_kans_elsewhere": {"first_image": 5},
    "18_sweeps": {"architectures": "kan-4-2,vae-8-2", "seeds": 2, "epochs": 1},
    "19_architecture_search": {"count": 2},
    "20_own_work": {"epochs": 2},
}  # fmt: skip


def run_alone(chapter: Path, folder: Path) -> nbformat.NotebookNode:
    """Copy the chapter into an empty folder and execute it there with small parameters."""
    alone = folder / "alone"
    alone.mkdir()
    (alone / chapter.name).write_bytes(chapter.read_bytes())
    output, given = folder / f"executed-{chapter.name}", SMALL[chapter.stem]
    chapters.execute(alone / chapter.name, output, given, progress=False, folder=alone)
    return nbformat.read(output, as_version=4)


def main() -> None:
    """Run the chapters named, or all."""
    for name in sys.argv[1:] or SMALL:
        with tempfile.TemporaryDirectory() as folder:
            executed = run_alone(NOTEBOOKS / f"{name}.ipynb", Path(folder))
            print(f"{name}: {executed.metadata.papermill.duration:.0f} s", flush=True)


if __name__ == "__main__":
    main()
