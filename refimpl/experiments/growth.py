"""How lambda and sigma (E15) grow along training: the paper's own object of study.

A neuron's own features are those of its label in the 2-class network, and that of its class in the
multi-class one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl._arrays import IntArray
from refimpl.decomposition import decompose
from refimpl.experiments.figures import BLUE, GREEN, ORANGE, new_figure, save
from refimpl.experiments.robustness import EDGES
from refimpl.network import TwoLayerReLU
from refimpl.setting import Problem
from refimpl.training import Snapshot

STYLES: dict[str, dict[str, Any]] = {
    "own": {"color": BLUE, "label": r"$\lambda_{r,j}$, own features"},
    "other": {"color": ORANGE, "linestyle": "--", "label": r"$\lambda_{r,j}$, other features"},
    "noise": {"color": GREEN, "linestyle": ":", "label": r"$\sigma_{r,i}$, noise of samples"},
}
_MOST_STEPS = 24  # beside the first


class Growth:
    """Smallest, median and largest coefficients of neurons at some `steps` of training.

    It is a callback of gradient descent from `net` on the samples of `problem`.
    """

    def __init__(self, net: TwoLayerReLU, problem: Problem, steps: int) -> None:
        self.own, self.problem = own_features(net, problem.dist.labels), problem
        self.steps = watched(steps)
        self._seen: list[list[list[float]]] = []

    def __call__(self, step: int, loss: float, get_network: Snapshot) -> None:
        """Decompose the weights of a step that is watched."""
        if step in self.steps:
            parts = decompose(get_network, self.problem.train, self.problem.dist)
            groups = parts.feature[self.own], parts.feature[~self.own], parts.noise
            self._seen.append([[float(of(group)) for of in EDGES.values()] for group in groups])

    def curves(self) -> dict[str, dict[str, list[float]]]:
        """Curves at `steps`, by the names of `STYLES` and of `EDGES`."""
        by_part = np.moveaxis(np.array(self._seen), 0, 2).tolist()
        return {
            part: dict(zip(EDGES, of, strict=True))
            for part, of in zip(STYLES, by_part, strict=True)
        }


def watched(steps: int) -> IntArray:
    """Choose the steps at which growth is measured, the first and the last among them.

    >>> watched(3).tolist(), watched(96).tolist()[:3], watched(96).tolist()[-1]
    ([0, 1, 2, 3], [0, 4, 8], 96)
    """
    return np.linspace(0, steps, min(steps, _MOST_STEPS) + 1).round().astype(np.int64)


def own_features(net: TwoLayerReLU, labels: IntArray) -> NDArray[np.bool_]:
    """Tell (M,k) which features are a neuron's own, from the signs of its output weights.

    >>> own_features(TwoLayerReLU(np.eye(2), None, [[1.0, -1.0]]), np.array([1, -1, -1])).tolist()
    [[True, False, False], [False, True, True]]
    """
    own = np.sign(net.A[0])[:, None] == labels if net.n_outputs == 1 else net.A.T > 0
    return np.asarray(own)


def entry(growths: Mapping[str, Growth]) -> dict[str, Any]:
    """Entry ``coefficients`` of summary.json: the steps, and curves by network."""
    steps = next(iter(growths.values())).steps.tolist()
    return {"steps": steps, **{name: each.curves() for name, each in growths.items()}}


def draw(path: Path, titles: Mapping[str, str], growths: Mapping[str, Growth]) -> None:
    """Draw coefficients along training, a panel a network: medians, and bands of all neurons."""
    figure = new_figure(4.4 * len(growths) + 0.4, 4.2)
    axes = figure.subplots(1, len(growths), squeeze=False)[0]
    for ax, (name, growth) in zip(axes, growths.items(), strict=True):
        curves = growth.curves()
        for part, style in STYLES.items():
            low, middle, high = (curves[part][edge] for edge in EDGES)
            ax.plot(growth.steps, middle, **style)
            ax.fill_between(growth.steps, low, high, color=style["color"], alpha=0.2, linewidth=0)
        own = curves["own"]
        found = f"own features, last step: {own['min'][-1]:.3g} to {own['max'][-1]:.3g}"
        ax.set_title(f"{titles[name]}:\n{found}", fontsize=10)
        ax.set_xlabel("gradient step $t$")
        ax.grid(alpha=0.25)
        ax.margins(x=0.01)
    axes[0].set_ylabel("coefficient: median, smallest to largest")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    save(figure, path)
