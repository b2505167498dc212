# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,kernelspec,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sweeps: one chapter, many parameters
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/18_sweeps.ipynb)
#
# **The question.** How do we run a notebook for many parameters, on a laptop or on a cluster, and lose nothing when something breaks?
#
# **The answer.** With one command. Each point is executed by papermill in a process of its own and written when it is done. Killed at any moment and started again, a sweep repeats only the points that were running.
#
# **You need** to have seen a [training](04_training.ipynb). **On this page** a small notebook is executed over a grid, its results become one table, the sweep is killed halfway and resumes where it stopped, and we see what a point costs beyond its training. The chapter ends with the commands for a Slurm or Kubernetes cluster. We have not measured this on a GPU.

# %% tags=["remove-cell"]
import importlib.util

from IPython import get_ipython

if (
    importlib.util.find_spec("kanvae") is None
):  # in Colab: install the book's module
    get_ipython().run_line_magic(
        "pip",
        'install -q "kanvae[studies] @ '
        'git+https://github.com/kan-vae-book/kan-vae-book"',
    )

# %% [markdown]
# The imports, and the parameters that you may change.

# %%
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from IPython.display import Markdown

from kanvae import figures
from kanvae.figures import tables
from kanvae.studies import results, sweep

# %% tags=["parameters"]
architectures = "vae-40-5,kan-10-5"
seeds = 3
epochs = 2

# %% [markdown]
# ## A notebook that can be swept
#
# Two things make a notebook fit for a sweep. A cell with the tag `parameters` holds plain assignments; papermill inserts another cell after it with the values of a **point**, one choice of all parameters. And a call of `chapters.record` says what the point's
# results are: numbers, words, or curves. All chapters of this book have the first, the chapter on training has both. Here we write a small one, three cells.

# %%
parameters = """
architecture = "kan-10-5"
seed = 0
epochs = 1
"""
training = """
from kanvae.training import TrainingConfig, train
run = train(TrainingConfig(architecture, seed=seed, epochs=epochs))
"""
recording = """
from kanvae.studies import chapters
seconds = run.provenance["seconds"]
chapters.record(
    validation_elbo=run.elbo[-1],
    curve=run.elbo,
    training_seconds=seconds,
)
"""
notebook = nbformat.v4.new_notebook()
notebook.cells = [
    nbformat.v4.new_code_cell(cell.strip())
    for cell in (parameters, training, recording)
]
notebook.cells[0].metadata["tags"] = ["parameters"]
folder = Path(tempfile.mkdtemp())
nbformat.write(notebook, folder / "small.ipynb")

# %% [markdown]
# ## A grid, and what is refused
#
# A **grid** gives each parameter a list of values; its points are all combinations (or, with `paired=True`, the first values of all lists, then the second, and so on). Before anything starts, every point is checked against the notebook: the names, the types, and, where they are settings of
# a training, whether such a training exists. A typo costs a second, not a night:

# %%
grid = {
    "architecture": architectures.split(","),
    "seed": range(seeds),
    "epochs": [epochs],
}
points = sweep.expand(grid)
lines = [f"{len(points)} points, the last: {sweep.describe(points[-1])}"]
for wrong in (
    {"sede": [0]},
    {"seed": ["zero"]},
    {"architecture": ["kan-0-5"]},
):
    try:
        sweep.sweep(folder / "small.ipynb", wrong, folder / "wrong")
    except ValueError as error:
        lines.append(f"refused: {str(error).replace(str(folder), '...')}")
Markdown("\n".join(f"- {line}" for line in lines))

# %% [markdown]
# ## The sweep
#
# Each point is executed by papermill in a kernel of its own, on a worker of a Dask cluster; by default that is one single-threaded worker for each core of this machine, or one for each GPU. We run only the first seed of each architecture. The progress bar counts points; it says how many are running, failed and left.

# %%
first = grid | {"seed": range(1)}
started = time.perf_counter()
table = sweep.sweep(folder / "small.ipynb", first, folder / "out")
print(f"{len(table)} points in {time.perf_counter() - started:.0f} s")

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-sweep-points", "caption": "The table of the sweep, a line a point; some of its columns."}}
columns = ["architecture", "seed", "status", "validation_elbo"]
columns += ["training_seconds", "seconds"]
seconds = dict.fromkeys(("training seconds", "seconds"), ".1f")
tables.table(table[columns], {"validation elbo": ".2f"} | seconds)

# %% [markdown]
# The table ({numref}`tab-sweep-points`) has a line for each point: all parameters, what was recorded, and how the execution went. It is also in the folder, as CSV and Parquet, beside a page, `index.html`, that links to every executed notebook and draws the curves small.
#
# ## Killed and resumed
#
# Now the whole grid, from the command line, and as soon as one more point is done we kill the sweep with SIGKILL, which no program can catch. Its workers and kernels notice and exit. The prediction: started again, it does not touch what is done, and does the rest.


# %%
def done():
    found = sweep.read_results(str(folder / "out")).items()
    return {name for name, result in found if result["status"] == "done"}


output = str(folder / "out")
command = [sys.executable, "-m", "kanvae", "sweep"]
command += [str(folder / "small.ipynb"), "--output", output]
command += ["-p", "architecture", architectures]
command += ["-p", "epochs", str(epochs), "-p", "seed", f"0:{seeds}"]
before = done()
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
with subprocess.Popen(command, **quiet) as process:
    while (
        len(done()) == len(before) < len(points) and process.poll() is None
    ):
        time.sleep(0.05)
    process.kill()
kept = done()
executed = {
    name: (folder / "out" / name / "executed.ipynb").stat().st_mtime
    for name in kept
}
print(f"killed with {len(kept)} of {len(points)} points done")

# %%
table = sweep.sweep(folder / "small.ipynb", grid, folder / "out")
untouched = sum(
    (folder / "out" / name / "executed.ipynb").stat().st_mtime == stamp
    for name, stamp in executed.items()
)
print(
    f"{len(done())} of {len(points)} done; {untouched} of {len(kept)} "
    "not touched"
)
assert untouched == len(kept)
assert len(done()) == len(points)

# %% [markdown]
# The same holds when a worker is killed, or a kernel, or when the disk fills up: points that were not finished are executed again, finished ones are not. A point whose own code fails keeps its notebook as far as it went, `failed.ipynb`, and does not stop the others; `--retries` tries it
# again, and the sweep ends with a list of what failed and a non-zero exit. The repository's tests kill all of these; `nox -s soak` does so at random moments, though the run below hit no kernel and filled only one disk.
#
# ## What came out

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-sweep", "caption": "ELBO of the validation images after each epoch, one line per point of the sweep; colours tell the architectures apart."}, "image": {"alt": "The validation ELBO of every point rises from the first epoch to the second; the linear architecture lies above the KAN in all its seeds."}}
points_done = sweep.read_results(str(folder / "out")).values()
curves = {key: [] for key in grid["architecture"]}
for result in points_done:
    key = result["parameters"]["architecture"]
    curves[key].append(result["metrics"]["curve"])
figures.bundles(
    range(1, epochs + 1),
    curves,
    "epoch",
    "validation ELBO, nats per image",
)

# %% tags=["remove-cell"]
by_kind = table.groupby("architecture")["validation_elbo"]
if seeds > 1 and epochs >= 2 and by_kind.ngroups == 2:
    means = by_kind.mean()
    assert means.max() - means.min() > by_kind.std().max()

# %% [markdown]
# Every line of {numref}`fig-sweep` is a notebook that was executed, and can be opened. The two kinds of model lie further apart than their seeds do. What does such a point cost beyond its training? Starting a kernel, importing torch and loading the data take their time, whatever is trained:

# %% tags=["found", "hide-input"]
beyond = table["seconds"] - table["training_seconds"]
Markdown(
    f"- A sweep of {len(points)} points, killed once, was finished by "
    f"the same command; the {len(kept)} points that were done before the "
    "kill were not touched.\n"
    f"- A point took {beyond.median():.1f} s beyond its training "
    f"(median; {beyond.min():.1f} to {beyond.max():.1f}): a kernel, its "
    "imports, the data.\n"
)

# %% [markdown]
# ## What it costs, measured
#
# The seconds listed above are this page's own. A benchmark (`benchmarks/sweeps.py`) takes more care: it runs the training of the chapter on training as processes of their own and as points, in turns, and takes a point apart by the times that papermill notes. The line printed above the table says where and when.

# %% mystnb={"table": {"name": "tab-sweep-overhead", "caption": "What a point of a sweep costs, in seconds: the training alone, and what papermill, a kernel and its imports add."}}
costs, measured = results.measured("sweeps")
first_part = measured["overhead"]
print(f"{first_part['processor']}, {first_part['cores']} cores,")
print(f"{first_part['date'][:10]}, dask {first_part['dask']}")
seconds = dict.fromkeys(("median seconds", "lowest", "highest"), ".2f")
tables.table(costs["overhead"], seconds)

# %% [markdown]
# The line "point beyond the bare training" of {numref}`tab-sweep-overhead` is what a sweep adds to `kanvae train`, which has to import torch and load the data too. {numref}`tab-sweep-throughput` holds two workers on two cores, each with one thread, against one worker with both.

# %% mystnb={"table": {"name": "tab-sweep-throughput", "caption": "The same eight points by one worker and by two."}}
tables.table(
    costs["throughput"], {"points an hour": ",.0f", "seconds": ".1f"}
)

# %% tags=["remove-cell"]
hourly = costs["throughput"]["points_an_hour"]
assert 1.7 < hourly.max() / hourly.min() < 2.2, hourly

# %% [markdown]
# Two single-threaded workers finish about twice as many points an hour as one with two threads.
#
# To see the engine alone, {numref}`tab-sweep-scheduling` has ten thousand points that do next to nothing but write their result: the time to run them, to write the tables, and to find out at a new start what is done.

# %% mystnb={"table": {"name": "tab-sweep-scheduling", "caption": "The engine alone, on points that do next to nothing."}}
scheduling = costs["scheduling"].T.rename(columns={0: "value"})
scheduling.index = scheduling.index.str.replace("_", " ")
tables.table(scheduling.rename_axis("measured"), {"value": ",.5g"})

# %% [markdown]
# ## What survives faults, measured
#
# `nox -s soak` does four kinds of work on a few images: a training, a sweep of two points, a search, and a reproduction of two runs. At random moments it injects faults: it sends SIGKILL, SIGTERM or SIGINT to the driver, a worker, a kernel, or all of them; it cuts files; it fills disks. Then it starts the same command again. (In the run below no kernel was hit.)
#
# At the end it compares what is left with an undisturbed run. Every file must be there, weights bit for bit, tables up to their times. No process, no other file and no lock may be left. A command may refuse a cut file only if it names it. (The next execution of a chapter clears away the temporary files of processes that were killed outright; the table counts what is there at the end.)
#
# The soak found what no test had looked for: a driver that waited for ever once all of its workers had been interrupted, because Dask takes an interrupt as the worker's own decision to stop. Such workers are replaced now, and {numref}`tab-soak` was measured after that. The line printed above it says where and when.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-soak", "caption": "Faults injected and what they left, for each kind of work."}}
measured_there = measured["soak"]
print(
    f"{measured_there['processor']}, {measured_there['cores']} cores, "
    f"{measured_there['date'][:10]}, dask {measured_there['dask']}"
)
soak = costs["soak"].set_index("work")
rows = {
    "kills": "kills",
    "driver": "of the driver",
    "worker": "of a worker",
    "kernel": "of a kernel",
    "all": "of all processes",
    "files_cut": "files cut",
    "named": "of these, refused by name",
    "disks_filled": "disks filled",
    "restarts": "starts after the first",
    "lost": "files lost",
    "wrong": "files that differ",
    "left_behind": "processes, files, locks left",
    "temporary": "temporary files left",
    "not_restarted": "starts that failed",
}
counted = soak[list(rows)].rename(columns=rows).T
tables.table(counted.rename_axis("faults"))

# %% tags=["found", "hide-input"]
faults = soak[["lost", "wrong", "left_behind", "not_restarted"]]
assert (faults == 0).all(axis=None)
assert (soak["kills"] > 0).all()
assert (soak["kernel"] == 0).all()


def counted_in_words(column, noun):
    """A sum with its noun in the right number: 2 full disks."""
    count = soak[column].sum()
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


Markdown(
    f"After {counted_in_words('kills', 'kill')}, "
    f"{counted_in_words('files_cut', 'cut file')} and "
    f"{counted_in_words('disks_filled', 'full disk')} "
    "no file was lost or wrong, and nothing was left behind but "
    "temporary files, which the next execution clears away."
)

# %% [markdown]
# ## On a cluster
#
# The same command runs on any Dask cluster. A scheduler and two workers started by hand, here or on other machines that have this package installed:
#
#     dask scheduler    # prints its address
#     dask worker tcp://ADDRESS:8786 --nthreads 1 --nworkers 2
#     kanvae sweep notebooks/04_training.ipynb -p seed 0:10 \
#         --scheduler tcp://ADDRESS:8786
#
# Several GPUs: one worker for each, which sees it alone, and points that ask for one. (On one machine, without `--scheduler`, this happens by itself.)
#
#     CUDA_VISIBLE_DEVICES=0 dask worker tcp://ADDRESS:8786 \
#         --nthreads 1 --resources GPU=1
#     CUDA_VISIBLE_DEVICES=1 dask worker tcp://ADDRESS:8786 \
#         --nthreads 1 --resources GPU=1
#     kanvae sweep ... --scheduler tcp://ADDRESS:8786 --resources GPU=1
#
# Slurm, through dask-jobqueue, and Kubernetes, through dask-kubernetes; the files say what to set:
#
#     kanvae sweep ... --cluster clusters/slurm.yaml
#     kanvae sweep ... --cluster clusters/kubernetes.yaml \
#         --output s3://bucket/sweep
#
# Where the workers share no file system, the output must be an address that all reach, `s3://` (with s3fs installed) or `gs://` (with gcsfs). Notebooks, results and tables go there. What a point writes beside its notebook, such as the run folder of a training, stays on the worker's own disk, and a point whose worker is lost begins
# anew. MNIST must be on the workers too: by `KANVAE_DATA`, or by download.
#
# ```{admonition} What was tested, and what was not
# :class: note
# Tested: workers of this machine, a scheduler and workers started by hand, worker resources, an S3-compatible server, and Slurm: a controller and two nodes on one machine, where a sweep lost a job, was killed, and went on. For Kubernetes the resource that the file generates is checked; no pod was ever started.
# ```
#
# ## What we saw
#
# - A notebook with a parameters cell and a call of `record` is all that a sweep needs.
# - Nothing that was done is done again, and nothing is lost but the points that were running.
# - A point costs some seconds beyond its training. Sweep training runs that take minutes, not milliseconds.
#
# ## Exercises
#
# **1.** Add `"epochs": [1, 2, 4]` to the grid, in the same folder. How many points are new?
#
# <details><summary>Solution</summary>
#
# Twelve: the six with 2 epochs are there, those with 1 and with 4 are not. A point is known by the values that the grid gives; the table then has all eighteen.
#
# </details>
#
# **2.** Change the cell that trains, and sweep into the same folder. What happens, and why is that right?
#
# <details><summary>Solution</summary>
#
# It is refused: the folder holds results of another version of the notebook, and a table that mixes both would be wrong without looking wrong. Choose another folder.
#
# </details>
#
# ## References
#
# {cite:t}`rocklin2015` for Dask. The parameters cell is papermill's.
