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
# # Sampling from the prior
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/09_prior_sampling.ipynb)
#
# **The question.** What do the models invent on their own?
#
# **The answer.** Digits, about as often as not: a classifier recognises 47 % of the VAE's samples, 56 % of KAN-VAE*'s and 59 % of KAN-VAE**'s, on average over three or four training runs of each. The paper, too, finds the samples of both KAN-VAEs more recognisable.
#
# **In more detail.** Both leads over the VAE [stay clear](../book/conventions.md), in grey and in thresholded images. Of thresholded samples the classifier recognises more, for every model. We add a VAE whose hidden units learn four functions each, which [a later chapter](13_how_many_functions.ipynb) explains. The classifier recognises 53 % of its samples, clearly more than of the VAE's. It was trained with another learning-rate schedule, so its architecture alone may not explain the difference.
#
# **You need** the three [featured models](06_learning_curves.ipynb). **On this page** we redraw the paper's Figure 9 from noise that the models share, and measure how recognisable and how varied the inventions are. The models were trained before.

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
import pandas as pd
import torch

from kanvae import data, digits, export, figures
from kanvae.figures import interactive, tables
from kanvae.studies import paper, results, sizes
from kanvae.training import load_model

# %% tags=["parameters"]
seed = 0
samples = 10000

# %% [markdown]
# ## Two rows of sixteen
#
# Draw $z \sim \mathcal N(0, 1)$, decode, look. Beside the paper's three models you see the one that this book recommends, whose hidden units have [four learned functions](13_how_many_functions.ipynb) each. All get the same noise: KAN-VAE**, with its 15 latents, takes the first 15 of each row's 20 numbers. The models do not share a meaning of their latents, so the columns below are not the same
# digit; sharing only takes the luck of the draw out of the comparison.

# %%
trained = {
    name: results.featured_run(architecture)
    for name, architecture in paper.FEATURED.items()
}
trained["4 functions"] = results.recommended()
width = max(a.latent_dim for a in paper.FEATURED.values())
generator = torch.Generator().manual_seed(seed)
noise = torch.randn(samples, width, generator=generator)
drawn = {}
for name, run in trained.items():
    model = load_model(run).requires_grad_(False)
    parts = noise[:, : model.latent_dim].split(1000)
    images = [model.decode(part).sigmoid() for part in parts]
    drawn[name] = torch.cat(images)  # (samples, 784)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-prior", "caption": "The paper's Figure 9, redrawn, and a model with four functions per unit: 32 samples each of one training run, from the same noise."}, "image": {"alt": "Each model invents 32 images: some are clear digits, some lie between two digits, some are smudges; no model is free of these."}}
rows = {
    f"{name}#{i}": part
    for name, images in drawn.items()
    for i, part in enumerate(images[:32].split(16))
}
figures.image_rows(rows)

# %% [markdown]
# Some of {numref}`fig-prior` are digits, some lie between two, some are smudges. The paper remarks that judging such pictures is hard, and then judges that the KAN-VAEs' digits have more fidelity. Numbers help:
#
# - **confidence**: how sure the digit classifier is of its best guess, on average; real digits set the scale;
# - **recognised**: the share of samples with a confidence above 0.9; **thresholded**: the same share after the samples are cut at one half; the training images were cut in the same way;
# - **variety**: the entropy of the digits that it sees, in bits, at most $\log_2 10 = 3.32$ when all ten come up equally often.
#
# A model that always draws the same perfect 1 would have full confidence and no variety; both must be read together, and the [Fréchet distance](05_table1.ipynb) combines the two.

# %%
classifier = digits.load_classifier()


@torch.no_grad()
def judge(images: torch.Tensor) -> dict[str, float]:
    logits = [classifier(part) for part in images.split(1000)]
    return digits.recognition(torch.cat(logits))


# %% mystnb={"table": {"name": "tab-prior", "caption": "Samples from the prior, seed 0, and real test digits, as the digit classifier sees them."}}
real = data.load("MNIST", "test").pixels[:samples] / 255
table = pd.DataFrame(
    {
        name: judge(images)
        for name, images in ({"real test digits": real} | drawn).items()
    }
).T.rename_axis("images")
cut = {name: (images > 0.5).float() for name, images in drawn.items()}
cut = {"real test digits": (real > 0.5).float()} | cut
table.insert(
    2,
    "thresholded",
    [judge(images)["recognised"] for images in cut.values()],
)
shares = dict.fromkeys(("recognised", "thresholded"), ".1%")
table = table.rename(columns={"variety": "variety (bits)"})
tables.table(
    table, {"confidence": ".3f", "variety (bits)": ".2f"} | shares
)

# %% tags=["remove-cell"]
models = table.drop("real test digits")
rates = [models.loc[name, "recognised"] for name in paper.FEATURED]
if samples >= 5000 and seed == 0:
    assert [round(100 * rate) for rate in rates] == [46, 57, 60]
    assert round(100 * models.loc["4 functions", "recognised"]) == 52
    order = ["VAE", "4 functions", "KAN-VAE*", "KAN-VAE**"]
    for kind in ("recognised", "thresholded"):
        assert [*models[kind].sort_values().index] == order
    assert (models["thresholded"] > models["recognised"]).all()
    assert table["variety (bits)"].idxmax() == "real test digits"
    bits = models["variety (bits)"]
    assert bits.idxmax() == "KAN-VAE*"
    assert 3.1 < bits.min() < bits.max() < 3.25
recall = (
    results.at_paper(regime="paper", reading="last")
    .groupby("model")["recall_digits_grayscale"]
    .mean()
)
vae, star, narrow = (recall[str(key)] for key in paper.FEATURED.values())
assert narrow < 0.5 * vae
assert vae < star

# %% [markdown]
# In {numref}`tab-prior` the samples of both KAN-VAEs are recognised more often than the VAE's, in both kinds of image. These are samples of one training run of each model. Does another training change the picture? The classifier judged the samples of several:

# %% tags=["hide-input"]
every = results.scores(dataset="MNIST", regime="paper", reading="last")
wanted = {str(key): name for name, key in paper.FEATURED.items()}
equal = "VAE, 350–15"  # as large as KAN-VAE**
wanted[str(sizes.baseline(paper.FEATURED["KAN-VAE**"]))] = equal
wide = "VAE, 4000–20"  # as large as KAN-VAE*
wanted[str(sizes.baseline(paper.FEATURED["KAN-VAE*"]))] = wide
several = results.at_paper(regime="paper", reading="last")
several = several[several["model"].isin(wanted)]
like = results.RECOMMENDED.rpartition("seed")[0]
shared = every[every["name"].str.startswith(like)]
several = pd.concat([several, shared]).dropna(
    subset=["recognised_digits_grayscale"]
)
names = several["model"].map(wanted).fillna("4 functions")
percent = several.assign(
    model=names,
    grey=100 * several["recognised_digits_grayscale"],
    thresholded=100 * several["recognised_digits_binarized"],
)
# %% tags=["hide-input"] mystnb={"table": {"name": "tab-prior-seeds", "caption": "Shares of recognised samples in percent, and their variety in bits: 10,000 samples of each of the training runs whose weights were kept, mean \u00b1 standard deviation; and the differences from the VAE in points, with 95 % intervals. The variety is that of grey samples. \u2020: stays clear of zero by Holm's procedure over the six."}}
columns = {
    "grey": ("grey", 0),
    "thresholded": ("thresholded", 0),
    "variety": ("variety_digits_grayscale", 2),
}
rows = [*paper.FEATURED, equal, wide, "4 functions"]
summed = results.summary(percent, {name: name for name in rows}, columns)
leads = {
    (name, kind): results.difference(percent, name, "VAE", kind)
    for name in ("KAN-VAE*", "KAN-VAE**", "4 functions")
    for kind in ("grey", "thresholded")
}
mark = results.marker(leads, 0)
for kind in ("grey", "thresholded"):
    summed[f"{kind}, minus VAE"] = [
        mark(leads[name, kind]) if (name, kind) in leads else ""
        for name in summed.index
    ]
tables.table(summed.drop(columns="parameters").rename_axis("model"))

# %% [markdown]
# On average the order holds ({numref}`tab-prior-seeds`). The classifier recognises 47 % of the VAE's samples, 56 % of KAN-VAE*'s and 59 % of KAN-VAE**'s, so the paper's impression is right. Both leads over the VAE stay clear, in both kinds of image. Few latents and size do not explain KAN-VAE**'s lead: the linear VAE with as many of both, VAE, 350–15, is at 49 % in two runs, and the interval of the difference excludes zero in both kinds of image. For KAN-VAE* we cannot say: the one run that was judged of the VAE of its size, VAE, 4000–20, is at 51 %. The model with four functions lies between the VAE and the KAN-VAEs. All fall far behind real digits.
#
# The variety of all models, 3.1 to 3.3 bits, is a little below that of real digits. That alone does not show that every digit occurs: nine equally frequent digits would give 3.17. Nor is variety among the ten digits variety within them. By [recall](05_table1.ipynb) in grey, more of the real test digits lie among the samples of KAN-VAE* than among those of the VAE, and less than half as many among those of KAN-VAE**, which are more alike.

# %% tags=["remove-cell"]
rates = percent.groupby("model")["grey"].mean().round()
wanted_rates = {"VAE": 47, "KAN-VAE*": 56, "KAN-VAE**": 59, equal: 49}
assert rates[[*wanted_rates]].to_dict() == wanted_rates
counted = percent.groupby("model").size()
assert counted[[*paper.FEATURED]].isin((3, 4)).all()
assert (counted[equal], counted[wide]) == (2, 1)
assert rates[wide] == 51
assert rates["4 functions"] == 53
assert len(results.clear(leads)) == len(leads) == 6
assert all(lead.low > 0 for lead in leads.values())
order = ["VAE", "4 functions", "KAN-VAE*", "KAN-VAE**"]
for kind in ("grey", "thresholded"):
    shown = percent.groupby("model")[kind].mean()[order]
    assert shown.is_monotonic_increasing
best_two = results.difference(percent, "KAN-VAE**", "KAN-VAE*", "grey")
assert best_two.low < 0 < best_two.high
cut_rates = percent.groupby("model")["thresholded"].mean()
assert (cut_rates > percent.groupby("model")["grey"].mean()).all()
for kind in ("grey", "thresholded"):
    ahead = results.difference(percent, "KAN-VAE**", equal, kind)
    assert ahead.low > 0
bits = percent["variety_digits_grayscale"]
assert 3.1 < bits.min() < bits.max() < 3.3
assert round(float(torch.tensor(9.0).log2()), 2) == 3.17

# %% [markdown]
# ## A walk through the latent space
#
# Samples show single points of the latent space. To see what one latent does, we encode an image, the first digit 0 of the test set, and start from its mean $\mu(x)$. Then we move one latent from $-3$ to 3 and keep the others. The latents of a model are numbered in no particular order, so we take the one that carries the most nats of KL per image. We do this for two of the paper's models and the recommended one.

# %%
test = data.load("MNIST", "test")
first = [int((test.labels == digit).nonzero()[0]) for digit in range(10)]
along = torch.linspace(-3, 3, 11)
walks, shown = {}, []
for name in ("VAE", "KAN-VAE**", "4 functions"):
    run = trained[name]
    model = load_model(run).requires_grad_(False)
    mean, log_var = model.encode(data.binarize(test.pixels))
    nats = (mean.square() + log_var.exp() - log_var - 1).mean(0) / 2
    z = mean[first[0]].repeat(len(along), 1)
    z[:, nats.argmax()] = along
    walks[name] = model.decode(z).sigmoid()
    layers = export.layers(model.decoder)
    about = {"name": name, "layers": layers, "starts": mean[first]}
    shown.append(about | {"nats": nats.tolist()})

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-walk", "caption": "What one latent does: in each row the one that carries the most goes from \u22123 to 3, and the others stay where a test image has put them. On the book's page this is a decoder to play with."}, "image": {"alt": "From left to right an open stroke of the VAE closes to a 0; the 0 of KAN-VAE** fills up and becomes a 1, and that of the third model becomes something like a 3."}}
figure = figures.image_rows(walks)
about = {"models": shown, "digits": list(map(str, range(10)))}
interactive.figure("latent", about, figure)

# %% [markdown]
# In {numref}`fig-walk` the strokes change little from one image to the next; but over the whole walk a digit may become another, as that of KAN-VAE** does.
#
# On the book's page {numref}`fig-walk` is the decoder itself: move the point in the plane, any latent by its slider, or start from a test digit and change it. Sliders come in the order of what they carry. Those with italic names carry nothing, and moving one leaves the image as it is.
#
# ## Where the noise falls
#
# A KAN decoder's first layer sees $z$ itself, through splines on a grid over $[-1, 1]$ that vanish beyond the last knots at $\pm 2.2$. How much of a standard normal falls there?

# %%
outside_grid = float((noise.abs() > 1).double().mean())
outside_knots = float((noise.abs() > 2.2).double().mean())
print(f"outside the grid: {outside_grid:.1%} of the latents")
print(f"outside all knots: {outside_knots:.1%}")

# %% [markdown]
# Nearly a third of the decoder's inputs lie where its splines fade, and some where they are silent and only SiLU is left. It is a property of the paper's settings, not of KANs: the grid could be wider.
#
# ## What we saw
#
# - All models invent something like digits. The classifier recognises about half of them, and clearly more for both KAN-VAEs than for the VAE. KAN-VAE** is ahead of the linear VAE of its size, too (two runs of that).
# - On average the samples of KAN-VAE** are recognised most often; in grey they cannot be told from KAN-VAE*'s. They have the lowest recall of the real digits.
# - The first decoder layer's grid does not cover the prior that it is fed.
#
# ## Exercises
#
# **1.** Walk in a straight line between two rows of `noise` and decode ten points on the way. Do the digits change suddenly or gradually?
#
# <details><summary>Solution</summary>
#
# `torch.lerp(noise[:1], noise[1:2], torch.linspace(0, 1, 10)[:, None])` gives the points. Strokes change gradually, and the classifier's guess flips somewhere in the middle. Points near the middle of a line have smaller norm
# than typical prior draws; that is why they often look like an average.
#
# </details>
#
# **2.** Draw pixels with their probabilities (`torch.bernoulli`) in place of showing the probabilities. What happens to the confidence?
#
# <details><summary>Solution</summary>
#
# It falls: drawing pixels independently puts salt and pepper along soft edges, which no real digit has. The model's samples, strictly, are these; the pictures of the literature are the probabilities.
#
# </details>
#
# ## References
#
# {cite:t}`nik2024`, section VI-D and Figure 9.
