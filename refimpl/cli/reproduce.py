"""``refimpl reproduce``: the paper's experiments."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from refimpl.cli import options

FIELDS = {
    "k": (int, "clusters"),
    "d": (int, "input dimension"),
    "n": (int, "training samples"),
    "m": (int, "neurons of each sign in the 2-class network"),
    "h": (int, "neurons of each class in the k-class network"),
    "step": (float, "learning rate"),
    "steps": (int, "gradient descent steps"),
    "sigma": (float, "standard deviation of the initial weights"),
    "noise": (float, "standard deviation of the noise"),
    "test": (int, "test samples"),
    "pgd-steps": (int, "PGD steps at each radius"),
    "epochs": (int, "passes over the training samples"),
    "batch": (int, "rows in a gradient step"),
    "two-step": (float, "learning rate of the 2-class network"),
    "ten-step": (float, "learning rate of the 10-class network"),
    "train": (int, "training samples, drawn from all"),
    "radii": (int, "test samples, drawn from all, whose exact radii are found"),
    "max-nodes": (int, "effort for one radius"),
    "seed": (int, "seed of all random numbers"),
}
SYNTHETIC = ("k", "d", "n", "m", "h", "step", "steps", "sigma", "noise", "test")
IMAGES = (
    *("m", "h", "epochs", "batch", "two-step", "ten-step", "sigma"),
    *("train", "radii", "max-nodes"),
)
QUICK = {"train": 6000, "epochs": 5, "radii": 40}


def add_parser(subparsers: Any) -> None:
    """Add ``reproduce`` and its experiments."""
    parser = subparsers.add_parser(
        "reproduce", help="train the paper's networks and find their exact robust radii"
    )
    experiments = parser.add_subparsers(metavar="EXPERIMENT", required=True)
    synthetic = experiments.add_parser("synthetic", help="clusters with orthogonal features")
    _add_fields(synthetic, SYNTHETIC)
    partition = synthetic.add_mutually_exclusive_group()
    partition.add_argument("--positive", type=int, help="clusters with label +1 (default: half)")
    options.add_labels(partition, "labels of the clusters")
    options.add_out(synthetic, "synthetic")
    synthetic.set_defaults(run=run_synthetic)

    mnist = experiments.add_parser("mnist", help="odd against even digits")
    mnist.add_argument("--data", metavar="DIR", help="folder of MNIST (default: $REFIMPL_DATA)")
    mnist.add_argument(
        "--no-verify", action="store_true", help="take any well-formed data for MNIST"
    )
    mnist.add_argument("--quick", action="store_true", help="fewer samples, epochs and radii")
    _add_fields(mnist, IMAGES)
    options.add_out(mnist, "mnist")
    mnist.set_defaults(run=run_mnist)


def run_synthetic(args: argparse.Namespace) -> int:
    """Run the synthetic experiment."""
    from refimpl.experiments import synthetic

    settings = replace(synthetic.Settings(), **_given(args, SYNTHETIC))
    if args.positive is not None:
        settings = replace(settings, labels=options.first_positive(args.positive, settings.k))
    elif args.labels is not None:
        settings = replace(settings, labels=tuple(args.labels))
    synthetic.run(settings, args.out)
    return 0


def run_mnist(args: argparse.Namespace) -> int:
    """Run the experiment on MNIST."""
    from refimpl.experiments import images, mnist

    quick = QUICK if args.quick else {}
    settings = replace(images.Settings(), **{**quick, **_given(args, IMAGES)})
    images.run(lambda: mnist.load(args.data, verify=not args.no_verify), settings, args.out)
    return 0


def _add_fields(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    for name in (*names, "pgd-steps", "seed"):
        kind, text = FIELDS[name]
        parser.add_argument(f"--{name}", type=kind, metavar=kind.__name__.upper(), help=text)


def _given(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Collect the settings that were set on the command line."""
    fields = [name.replace("-", "_") for name in (*names, "pgd-steps", "seed")]
    return {name: getattr(args, name) for name in fields if getattr(args, name) is not None}
