"""``refimpl reproduce``: the paper's experiments."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from refimpl.cli import options
from refimpl.cli.workers import processes

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
    "seeds": (int, "pairs of networks, each from its own initial weights"),
    "seed": (int, "seed of all random numbers"),
}
SYNTHETIC = ("k", "d", "n", "m", "h", "step", "steps", "sigma", "noise", "test")
IMAGES = (
    *("h", "epochs", "batch", "two-step", "ten-step", "sigma"),
    *("train", "radii", "max-nodes", "seeds"),
)
QUICK: dict[str, Any] = {"train": 6000, "epochs": 5, "radii": 40, "seeds": 2, "max_nodes": 300}
CIFAR10: dict[str, Any] = {
    **{"epochs": 20, "two_step": 0.5, "ten_step": 0.5, "sigma": 0.01},
    **{"radii": 200, "max_nodes": 5000},
}


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
    _add_data(mnist, "MNIST")
    _add_images(mnist, "mnist", run_mnist)
    cifar10 = experiments.add_parser("cifar10", help="the first five classes against the last")
    _add_data(cifar10, "CIFAR-10")
    _add_images(cifar10, "cifar10", run_cifar10)
    features = experiments.add_parser("features", help="frozen features of your own, from a file")
    text = "arrays x (n,d), y (n,) classes from 0, and maybe x_test, y_test"
    features.add_argument("file", type=Path, metavar="FILE.npz", help=text)
    options.add_labels(features, "labels of the classes (default: first half +1)", "--groups")
    _add_images(features, "features", run_features)


def _add_data(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--data", metavar="DIR", help=f"folder of {name} (default: $REFIMPL_DATA)")
    parser.add_argument(
        "--no-verify", action="store_true", help=f"take any well-formed data for {name}"
    )


def _add_images(parser: argparse.ArgumentParser, name: str, run: Any) -> None:
    parser.add_argument("--quick", action="store_true", help="fewer samples, seeds and radii")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    _add_fields(parser, IMAGES)
    options.add_out(parser, name)
    parser.set_defaults(run=run)


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
    from refimpl.experiments import mnist

    return _run_images(args, lambda seed: mnist.load(args.data, verify=not args.no_verify), {})


def run_cifar10(args: argparse.Namespace) -> int:
    """Run the experiment on CIFAR-10."""
    from refimpl.experiments import cifar10

    return _run_images(
        args, lambda seed: cifar10.load(args.data, verify=not args.no_verify), CIFAR10
    )


def run_features(args: argparse.Namespace) -> int:
    """Run the experiment on the features in a file."""
    from refimpl.experiments import features

    return _run_images(args, lambda seed: features.load(args.file, args.groups, seed=seed), {})


def _run_images(args: argparse.Namespace, load: Any, defaults: dict[str, Any]) -> int:
    from refimpl import _validation as check
    from refimpl.experiments import images, seeds

    quick = QUICK if args.quick else {}
    settings = replace(images.Settings(), **{**defaults, **quick, **_given(args, IMAGES)})
    jobs = check.integer("--jobs", args.jobs, minimum=1)
    task = load(settings.seed)
    with processes(jobs) as executor:
        seeds.run(task, settings, args.out, executor=executor)
    return 0


def _add_fields(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    for name in (*names, "pgd-steps", "seed"):
        kind, text = FIELDS[name]
        parser.add_argument(f"--{name}", type=kind, metavar=kind.__name__.upper(), help=text)


def _given(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Collect the settings that were set on the command line."""
    fields = [name.replace("-", "_") for name in (*names, "pgd-steps", "seed")]
    return {name: getattr(args, name) for name in fields if getattr(args, name) is not None}
