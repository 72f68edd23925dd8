"""Where on the way from pixels to deep features the gain from finer labels appears.

    python -m proofs_numeric.feature_sets FEATURES.npz --data DIR

FEATURES.npz holds deep features of CIFAR-10 images, as tests/benchmarks/cifar10_features.py makes
it, and DIR the images. Four sets of features of the same width, 256 by default, are compared:

- pixels: the first principal components of the images, less their mean;
- random: ReLU(G x) of the images, less its mean, the entries of G standard normal;
- deep: coordinates of the deep features drawn at random, less their mean;
- deep, PCA: the first principal components of the deep features.

Each is trained on as `refimpl reproduce features` does, a 2-class network and a multi-class one as
wide. The *gain* is the median exact radius of group max over that of the 2-class network.

**Prediction.** One number from centres and noise alone, without training, by the laws (E23) and
(E24) extended to any centres mu_j and noise of covariance S, pooled over the classes. For rows x =
mu_j + xi, xi ~ N(0, S), less their mean,

- averaging: r = y <v, x>/||v||, v = v+ - v- the difference of the sums of the class means (E22);
- group max: r = min over t of the other class of (||x - mu_t||^2 - ||x - mu_j||^2) / (2 ||mu_j -
  mu_t||), the distance to the half-space nearer to mu_t than to the sample's own mu_j. Where the
  centres are orthogonal, of norm sqrt(d), this is (E24).

Both take the positive part. Medians are those of 20,000 draws. A predicted gain that is off by more
than 20 % is reported as failing. The command then still ends with status 0: it measures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl._workers import one_thread
from refimpl.experiments import tasks
from refimpl.experiments.images import train
from refimpl.experiments.tasks import Split, Task, class_means, shuffled
from refimpl.radius import robust_radius
from refimpl.setting import ImageSettings

TOLERANCE = 0.20
DRAWS = 20_000
WIDTH = 256
_HEAD = ("features", "cosine", "noise", "2-class", "group max", "gain", "predicted", "verdict")


@dataclass(frozen=True)
class Row:
    """A set of features: its geometry, exact and predicted medians of the radius.

    cosine: mean of those between two class means, rows less their mean; noise: standard deviation
    along the line between two class means over half its length, mean of all pairs.
    """

    name: str
    cosine: float
    noise: float
    exact: dict[str, float]
    predicted: dict[str, float]

    @property
    def gain(self) -> float:
        """Exact median of group max over that of averaging."""
        return self.exact["group_max"] / self.exact["averaging"]

    @property
    def predicted_gain(self) -> float:
        """The same of the predictions."""
        return self.predicted["group_max"] / self.predicted["averaging"]

    @property
    def verdict(self) -> str:
        """Whether the predicted gain is within `TOLERANCE` of the exact one."""
        off = abs(self.predicted_gain / self.gain - 1)
        return "holds" if off <= TOLERANCE else "FAILS"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all sets and print a table."""
    parser = argparse.ArgumentParser(prog="python -m proofs_numeric.feature_sets")
    parser.add_argument("file", type=Path, metavar="FEATURES.npz")
    parser.add_argument("--data", metavar="DIR", help="folder of CIFAR-10 ($REFIMPL_DATA)")
    parser.add_argument("--width", type=int, default=WIDTH, metavar="N")
    parser.add_argument("--radii", type=int, default=200, metavar="N", help="test samples")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    settings = ImageSettings(radii=args.radii, seed=args.seed, max_nodes=300)
    deep = tasks.features(args.file, None, seed=args.seed)
    images = tasks.cifar10(args.data, verify=False)
    print(_line(*_HEAD))
    with one_thread():
        for name, task in feature_sets(images, deep, args.width, args.seed).items():
            row = measure(name, task, settings)
            exact = (f"{row.exact[kind]:.3f}" for kind in ("averaging", "group_max"))
            found = (f"{row.gain:.2f}", f"{row.predicted_gain:.2f}", row.verdict)
            print(_line(name, f"{row.cosine:.3f}", f"{row.noise:.2f}", *exact, *found), flush=True)
    return 0


def _line(*cells: str) -> str:
    name, *others = cells
    return f"{name:<10}" + "".join(f"{cell:>11}" for cell in others)


def feature_sets(images: Task, deep: Task, width: int, seed: int) -> dict[str, Task]:
    """Four tasks of the same width, rows less the mean of the training rows."""
    rng = np.random.default_rng(seed)
    G = rng.standard_normal((width, images.train[0].shape[1]))
    chosen = rng.permutation(deep.train[0].shape[1])[:width]
    return {
        "pixels": _mapped(images, _components(images.train[0], width)),
        "random": _mapped(images, lambda x: np.maximum(x @ G.T, 0.0)),
        "deep": _mapped(deep, lambda x: x[:, chosen]),
        "deep, PCA": _mapped(deep, _components(deep.train[0], width)),
    }


def _components(x: Array, width: int) -> Callable[[Array], Array]:
    """Coordinates along the `width` eigenvectors of the largest variances."""
    mean = x.mean(axis=0)
    vectors = np.linalg.eigh((x - mean).T @ (x - mean))[1][:, ::-1][:, :width]
    return lambda rows: (rows - mean) @ vectors


def _mapped(task: Task, change: Callable[[Array], Array]) -> Task:
    (x, y), (x_test, y_test) = task.train, task.test
    x, x_test = change(x), change(x_test)
    mean = x.mean(axis=0)
    return replace(
        task,
        train=(x - mean, y),
        test=(x_test - mean, y_test),
        image_shape=None,
        unit="feature units",
        centre=False,
    )


def measure(name: str, task: Task, settings: ImageSettings) -> Row:
    """Train a pair of networks, find the median exact radii, and predict them."""
    rng = np.random.default_rng(settings.seed)
    comparison = train(task, task.train, settings, rng, progress=False)
    x, classes = shuffled(task.test, np.random.default_rng(settings.seed))
    x, y = x[: settings.radii], task.labels[classes[: settings.radii]]
    exact = {}
    for kind in ("averaging", "group_max"):
        each = comparison.classifiers()[kind]
        found = robust_radius(each.net, x, y, decision=each.decision, max_nodes=settings.max_nodes)
        exact[kind] = float(np.median(found.upper))
    cosine, noise = geometry(task.train, len(task.labels))
    return Row(name, cosine, noise, exact, predict(task.train, task.labels, rng))


def geometry(split: Split, k: int) -> tuple[float, float]:
    """Mean cosine of two class means, and noise over half their distance, as in `Row`."""
    means, S = class_means(split, k), noise_covariance(split, k)
    i, j = np.triu_indices(k, 1)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    apart = means[i] - means[j]
    length = np.linalg.norm(apart, axis=1)
    deviation = np.sqrt(np.einsum("pd,de,pe->p", apart, S, apart)) / length
    return float((unit @ unit.T)[i, j].mean()), float((2 * deviation / length).mean())


def noise_covariance(split: Split, k: int) -> Array:
    """Covariance (d,d) of the rows about their class means."""
    x = split[0] - class_means(split, k)[split[1]]
    covariance: Array = x.T @ x / len(x)
    return covariance


def predict(split: Split, labels: IntArray, rng: np.random.Generator) -> dict[str, float]:
    """Median radii by the laws, from centres and noise alone."""
    k = len(labels)
    means, S = class_means(split, k), noise_covariance(split, k)
    values, vectors = np.linalg.eigh(S)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    v = labels @ means
    normals = np.vstack([v[None], means]) @ root  # what the laws read of the noise
    read = rng.standard_normal((DRAWS, len(S))) @ normals.T
    j = rng.integers(k, size=DRAWS)
    y = labels[j]
    averaging = y * (means[j] @ v + read[:, 0]) / np.linalg.norm(v)  # (E22)
    along = means @ means.T
    squares = np.diag(along)
    apart = squares[:, None] + squares - 2 * along
    rows, nearest = np.arange(DRAWS), np.full(DRAWS, np.inf)
    for t in range(k):
        other = labels[t] != y
        gap = apart[j, t] + 2 * (read[rows, 1 + j] - read[:, 1 + t])
        length = 2 * np.sqrt(np.where(other, apart[j, t], 1.0))
        nearest = np.where(other, np.minimum(nearest, gap / length), nearest)
    found: dict[str, Any] = {"averaging": averaging, "group_max": nearest}
    return {kind: float(np.median(np.maximum(r, 0.0))) for kind, r in found.items()}


if __name__ == "__main__":
    sys.exit(main())
