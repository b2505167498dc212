"""A small classifier, of MNIST and of FashionMNIST, whose features serve the Fréchet distance.

Inception was trained on photographs and has to be downloaded; this network was trained on the
images themselves and its weights come with the package. `python -m kanvae.digits [MNIST |
FashionMNIST]` trains it again: on all 60,000 training images, shifted by up to two pixels,
grayscale and thresholded in equal parts, so that its features mean the same on both kinds of image.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from kanvae import data, origin

CLASSIFIERS = {  # name of the features -> the set that it was trained on, its weights
    "digits": ("MNIST", Path(__file__).with_name("digit_classifier.safetensors")),
    "fashion": ("FashionMNIST", Path(__file__).with_name("fashion_classifier.safetensors")),
}
FEATURES = 64


class DigitClassifier(nn.Module):
    """Two convolutions and two linear layers: images (B, 784) in [0, 1] or bool -> logits."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(1, 16, 5, stride=2, padding=2)
        self.convolution2 = nn.Conv2d(16, 32, 5, stride=2, padding=2)
        self.linear1 = nn.Linear(32 * 7 * 7, FEATURES)
        self.linear2 = nn.Linear(FEATURES, 10)

    def features(self, x: Tensor) -> Tensor:
        """The last hidden values before their ReLU: (B, 784) -> (B, 64)."""
        x = x.float().view(-1, 1, 28, 28)
        x = F.relu(self.convolution1(x))  # (B, 16, 14, 14)
        x = F.relu(self.convolution2(x))  # (B, 32, 7, 7)
        return self.linear1(x.flatten(1))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of the ten classes, by an image's features: (N, 64) -> (N, 10)."""
        return self.linear2(F.relu(features))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the ten classes: images (N, 784) in [0, 1] -> (N, 10)."""
        return self.logits(self.features(x))


def load_classifier(device: torch.device | str = "cpu", name: str = "digits") -> DigitClassifier:
    """A trained classifier that comes with the package: "digits" or "fashion"."""
    model = DigitClassifier()
    model.load_state_dict(load_file(CLASSIFIERS[name][1]))
    return model.to(device).eval()


def recognition(logits: Tensor) -> dict[str, float]:
    """How sure a classifier is of images, and of how many kinds they seem to be, by its logits.

    Args:
        logits: (N, 10).

    Returns:
        `confidence`, the mean probability of its best guess; `recognised`, the share of images
        whose best guess has more than 0.9; and `variety`, the entropy of its guesses in bits.
    """
    best, guesses = logits.detach().softmax(1).max(1)
    share = torch.bincount(guesses, minlength=logits.shape[1]).double() / len(guesses)
    return {
        "confidence": float(best.double().mean()),
        "recognised": float((best > 0.9).double().mean()),
        "variety": float(torch.special.entr(share).sum() / math.log(2)),
    }


@torch.no_grad()
def accuracy(model: DigitClassifier, x: Tensor, labels: Tensor) -> float:
    """The share of images (N, 784) in [0, 1] that are given their label (N,)."""
    guesses = torch.cat([model(part).argmax(1) for part in x.split(1000)])
    return float((guesses == labels).double().mean())


def train(
    name: str = "MNIST", epochs: int = 16, batch_size: int = 128, seed: int = 0
) -> DigitClassifier:
    """Train from scratch on the CPU; about a minute on two cores."""
    parts = [data.load(name, split) for split in ("train", "validation")]  # in the file's order
    pixels = torch.cat([part.pixels for part in parts])
    labels = torch.cat([part.labels for part in parts if part.labels is not None])
    grayscale = (pixels / 255.0).view(-1, 28, 28)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DigitClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    updates = epochs * math.ceil(len(pixels) / batch_size)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=updates)
    with tqdm(total=updates, desc="digit classifier", unit="update") as bar:
        for _ in range(epochs):
            order = torch.randperm(len(pixels), generator=generator)
            for rows in order.split(batch_size):
                shift = torch.randint(-2, 3, (2,), generator=generator).tolist()
                x = (
                    grayscale[rows].roll(shift, dims=(1, 2)).flatten(1)
                )  # digits keep 4 pixels clear
                half = torch.rand(len(x), 1, generator=generator) < 0.5
                x = torch.where(half, (x > 0.5).float(), x)
                loss = F.cross_entropy(model(x), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                bar.update()
    return model.eval()


def main(arguments: list[str] | None = None) -> None:
    """Train a classifier, report its test accuracy, and replace the weights that are shipped.

    Raises:
        SystemExit: no classifier of that set of images is shipped.
    """
    shipped = dict(CLASSIFIERS.values())
    parser = argparse.ArgumentParser("python -m kanvae.digits", description="Train and ship one.")
    parser.add_argument("name", nargs="?", default="MNIST", choices=shipped)
    name = parser.parse_args(arguments).name
    path = shipped[name]
    model = train(name)
    test = data.load(name, "test")
    assert test.labels is not None
    scores = {
        "accuracy_grayscale": accuracy(model, test.pixels / 255.0, test.labels),
        "accuracy_binarized": accuracy(model, data.binarize(test.pixels), test.labels),
    }
    print(scores)
    notes = {key: str(value) for key, value in (scores | origin.provenance()).items()}
    save_file(model.state_dict(), path, metadata=notes)


if __name__ == "__main__":
    main()
