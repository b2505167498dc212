import shutil

import numpy as np
import pytest

from kanvae import data
from kanvae.training import configuration
from kanvae.training.configuration import TrainingConfig, run_name

FOLDER = configuration.Path(configuration.__file__).parents[1]


@pytest.fixture
def code(tmp_path):
    """A copy of the package's code, and its digest now."""
    folder = tmp_path / "kanvae"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder, lambda: configuration.code_digest.__wrapped__(folder)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_words_and_layout_keep_the_digest(code):
    folder, digest = code
    before = digest()
    for path in [*folder.glob("*.py"), *folder.glob("layers/*.py")]:
        path.write_text(path.read_text().replace("\n\n\n", "\n\n\n# a comment\n\n"))
    change(folder / "objective.py", "what training minimises", "what Adam is to make small")
    change(folder / "objective.py", "All values are in nats per image.", "In nats.")
    change(folder / "layers" / "function_layer.py", "it must be below", "keep it below")
    change(folder / "training" / "fitting.py", "the training diverged: its", "diverged: its")
    change(folder / "training" / "fitting.py", "training, seed {", "training of the seed {")
    change(folder / "layers" / "grid.py", "the grid of {prefix", "the knots of {prefix")
    change(folder / "kernels" / "__init__.py", "there is no C compiler", "a compiler is lacking")
    for path in folder.glob("kernels/*.[ch]"):
        path.write_text("/* words */\n" + path.read_text().replace(";\n", ";   // why\n", 3))
    (folder / "figures" / "__init__.py").write_text("")  # it determines no number
    (folder / "studies" / "paper.py").write_text("")
    assert digest() == before


@pytest.mark.parametrize("name", [
    "splines.py", "models.py", "objective.py", "likelihoods.py", "training/updates.py",
    "training/fitting.py", "training/__init__.py", "data/__init__.py", "architectures.py",
    "layers/kan.py",
])  # fmt: skip
def test_code_changes_the_digest(code, name):
    folder, digest = code
    before = digest()
    with (folder / name).open("a") as file:
        file.write("\nCHANGED = 1\n")
    assert digest() != before


def test_a_number_changes_the_digest(code):
    folder, digest = code
    before = digest()
    change(folder / "objective.py", "return 0.5 * (mean.square()", "return 0.25 * (mean.square()")
    changed = digest()
    assert changed != before
    for name in ("kan.c", "shared.c", "common.h"):
        before, source = digest(), folder / "kernels" / name
        source.write_text(source.read_text() + "\nint changed = 1;\n")
        assert digest() != before


def test_a_new_layer_changes_the_digest(code):
    folder, digest = code
    before = digest()
    (folder / "layers" / "new.py").write_text("x = 1\n")
    assert digest() != before


def test_what_errors_and_warnings_say_is_words_and_what_they_are_is_not(tmp_path):
    path = tmp_path / "a.py"

    def seen(text):
        path.write_text(text)
        return configuration.without_words(path)

    warned = 'import warnings\nwarnings.warn("{}", {}, stacklevel=2)\n'
    assert seen(warned.format("a", "UserWarning")) == seen(warned.format("b", "UserWarning"))
    assert seen(warned.format("a", "UserWarning")) != seen(warned.format("a", "RuntimeWarning"))
    assert seen('raise ValueError("a")\n') == seen('raise ValueError("b")\n')
    assert seen('raise ValueError("a")\n') != seen('raise TypeError("a")\n')


def test_a_text_that_is_used_is_no_comment(tmp_path):
    path = tmp_path / "a.py"
    found = []
    for text in ('def f():\n    return "a"\n', 'def f():\n    return "b"\n', 'x = "# a"\n'):
        path.write_text(text)
        found.append(configuration.without_words(path))
    assert len(set(found)) == 3
    assert "# a" in found[2]
    source = tmp_path / "a.c"
    source.write_text('char *s = "// no comment"; /* one\n two */ int x; // three\n')
    assert configuration.without_words(source) == 'char *s = "// no comment"; int x;'


def test_the_content_of_an_own_set_is_part_of_its_run(tmp_path):
    path = tmp_path / "mine.npz"
    names = []
    for value in (0, 1):
        np.savez(path, pixels=np.full((12, 4), value))
        config = TrainingConfig("kan-4-2+input_features=4", str(path), "full")
        names.append(run_name(config))
        assert config.to_dict()["dataset_md5"] == data.fingerprint(str(path))
    assert names[0] != names[1]
    assert all(name.startswith("kan-4-2+input_features=4-mine-full-30epochs") for name in names)


def test_weight_decay_is_the_optimisers_own_unless_set():
    found = [
        TrainingConfig("kan-4-2", optimizer=name).to_dict()["weight_decay"]
        for name in ("adam", "adamw", "sgd")
    ]
    assert found == [0.0, 0.01, 0.0]
    assert TrainingConfig("kan-4-2", optimizer="adamw", weight_decay=0.1).weight_decay == 0.1


def test_binarisation_follows_the_likelihood_unless_set():
    assert TrainingConfig("kan-4-2").binarization == "threshold"
    assert TrainingConfig("kan-4-2", likelihood="binomial-255").binarization == "none"


def test_numbers_of_numpy_become_pythons():
    config = TrainingConfig("vae-4-2", learning_rate=np.logspace(-3, -2, 3)[1], seed=np.int64(3))
    assert (type(config.learning_rate), type(config.seed)) == (float, int)
    assert config.seed == 3
