"""Train the paper's networks, and find the exact robust radii of test samples.

  refimpl reproduce synthetic
  refimpl reproduce mnist --data DIR --quick
  refimpl reproduce features FILE.npz --groups 1,1,-1

Every experiment trains one network on two labels and one on the classes within
them, prints how robust they are, in truth and under attack, and writes
summary.json and figures to --out. refimpl reproduce EXPERIMENT --help says what
each takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from refimpl.cli import options
from refimpl.cli.workers import processes

SYNTHETIC_HELP = """\
The paper's synthetic experiment: k clusters around orthogonal features in d
dimensions, half of them labelled +1. Trains a 2-class network on the labels and a
multi-class network on the clusters, and compares their radii with the theory.

  refimpl reproduce synthetic
  refimpl reproduce synthetic --k 4 --d 400 --positive 1 --out small

The defaults are the paper's, and take some seconds."""
MNIST_HELP = """\
Odd against even digits of MNIST: a 2-class network trained on these two labels,
and a multi-class network, as wide, trained on the ten digits.

  refimpl data fetch mnist DIR
  refimpl reproduce mnist --data DIR --quick
  refimpl reproduce mnist --data DIR --jobs 2

--quick takes less than a minute, the whole some minutes."""
CIFAR10_HELP = """\
The first five classes of CIFAR-10 against the last five: a 2-class network trained
on these two labels, and a multi-class network, as wide, trained on the ten classes.

  refimpl data fetch cifar10 DIR
  refimpl reproduce cifar10 --data DIR --quick
  refimpl reproduce cifar10 --data DIR --jobs 2

--quick is for a first look; the whole takes many minutes."""
FEATURES_HELP = """\
Feature vectors of your own, as a frozen network gives them: a 2-class network
trained on two groups of classes, and a multi-class network, as wide, trained on
the classes.

  refimpl reproduce features FILE.npz --groups 1,1,-1 --quick

FILE.npz, as numpy.savez writes it, holds
  x               (n,d) real numbers, a feature vector a row
  y               (n,) integers, their classes 0..k-1, of which none is missing
  x_test, y_test  the same for test samples, with the same d and k; optional:
                  without them a fifth of the rows, drawn at random, is held out"""

FIELDS = {
    "k": (int, "clusters"),
    "d": (int, "input dimension"),
    "n": (int, "training samples"),
    "m": (int, "hidden neurons of each sign in the 2-class network"),
    "h": (int, "hidden neurons of each class in the multi-class network"),
    "step": (float, "learning rate"),
    "steps": (int, "gradient descent steps"),
    "sigma": (float, "standard deviation of the initial weights"),
    "noise": (float, "standard deviation of the noise"),
    "test": (int, "test samples"),
    "epochs": (int, "passes over the training samples"),
    "batch": (int, "rows in a gradient step"),
    "two_step": (float, "learning rate of the 2-class network"),
    "ten_step": (float, "learning rate of the multi-class network"),
    "train": (int, "training samples, drawn at random"),
    "radii": (int, "test samples, drawn at random, whose exact radii are found"),
    "max_nodes": (int, "search nodes for one radius; what they do not settle stays bounded"),
    "seeds": (int, "pairs of networks, each from its own initial weights"),
    "pgd_steps": (int, "PGD steps at each radius"),
    "seed": (int, "seed of all random numbers"),
}
SYNTHETIC: dict[str, Any] = {
    **{"k": 10, "d": 3072, "n": 1000, "m": 5, "h": 1, "step": 0.001, "steps": 100, "sigma": 1e-5},
    **{"noise": 1.0, "test": 200, "pgd_steps": 40, "seed": 0},
}
IMAGES: dict[str, Any] = {
    **{"h": None, "epochs": 15, "batch": 100, "two_step": 2.0, "ten_step": 1.0, "sigma": 0.1},
    **{"train": None, "radii": 500, "max_nodes": 1000, "seeds": 3, "pgd_steps": 40, "seed": 0},
}
CIFAR10: dict[str, Any] = {
    **IMAGES,
    **{"epochs": 20, "two_step": 0.5, "ten_step": 0.5, "sigma": 0.01},
    **{"radii": 200, "max_nodes": 5000},
}
QUICK: dict[str, Any] = {"train": 6000, "epochs": 5, "radii": 40, "seeds": 2, "max_nodes": 300}
_NONE = {"h": "3, or 4 for an odd number of classes", "train": "all"}  # what None stands for


def add_parser(subparsers: Any) -> None:
    """Add ``reproduce`` and its experiments."""
    text = "train the paper's networks and find their exact robust radii"
    parser = options.add_command(subparsers, "reproduce", text, __doc__)
    experiments = parser.add_subparsers(metavar="EXPERIMENT", required=True)
    text = "clusters with orthogonal features"
    synthetic = options.add_command(experiments, "synthetic", text, SYNTHETIC_HELP)
    _add_fields(synthetic, SYNTHETIC)
    partition = synthetic.add_mutually_exclusive_group()
    text = "clusters with label +1 (default: half)"
    partition.add_argument("--positive", type=int, metavar="INT", help=text)
    options.add_labels(partition, "labels of the clusters")
    options.add_out(synthetic, "synthetic")
    synthetic.set_defaults(run=run_synthetic)

    mnist = options.add_command(experiments, "mnist", "odd against even digits", MNIST_HELP)
    _add_data(mnist, "MNIST")
    _add_images(mnist, "mnist", IMAGES, run_mnist)
    text = "the first five classes against the last"
    cifar10 = options.add_command(experiments, "cifar10", text, CIFAR10_HELP)
    _add_data(cifar10, "CIFAR-10")
    _add_images(cifar10, "cifar10", CIFAR10, run_cifar10)
    text = "frozen features of your own, from a file"
    features = options.add_command(experiments, "features", text, FEATURES_HELP)
    text = "arrays x, y and optionally x_test, y_test, as above"
    features.add_argument("file", type=Path, metavar="FILE.npz", help=text)
    text = "a label, 1 or -1, for each class (default: 1 for the first half)"
    options.add_labels(features, text, "--groups")
    _add_images(features, "features", IMAGES, run_features)


def _add_data(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--data", metavar="DIR", help=f"folder of {name} (default: $REFIMPL_DATA)")
    text = f"take data in the format of {name} that are not all of it, or not the published ones"
    parser.add_argument("--no-verify", action="store_true", help=text)


def _add_images(
    parser: argparse.ArgumentParser, name: str, defaults: dict[str, Any], run: Any
) -> None:
    quick = " ".join(f"{_option(field)} {value}" for field, value in QUICK.items())
    parser.add_argument("--quick", action="store_true", help=f"as {quick}, where not given")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    _add_fields(parser, defaults)
    options.add_out(parser, name)
    parser.set_defaults(run=run)


def run_synthetic(args: argparse.Namespace) -> int:
    """Run the synthetic experiment."""
    from refimpl.experiments import synthetic

    labels = None if args.labels is None else tuple(args.labels)
    fields = {**SYNTHETIC, **_given(args, SYNTHETIC)}
    if args.positive is not None:
        labels = options.first_positive(args.positive, fields["k"])
    synthetic.run(synthetic.Settings(**fields, labels=labels), args.out)
    return 0


def run_mnist(args: argparse.Namespace) -> int:
    """Run the experiment on MNIST."""
    from refimpl.experiments import tasks

    return _run_images(args, lambda seed: tasks.mnist(args.data, verify=not args.no_verify), IMAGES)


def run_cifar10(args: argparse.Namespace) -> int:
    """Run the experiment on CIFAR-10."""
    from refimpl.experiments import tasks

    return _run_images(
        args, lambda seed: tasks.cifar10(args.data, verify=not args.no_verify), CIFAR10
    )


def run_features(args: argparse.Namespace) -> int:
    """Run the experiment on the features in a file."""
    from refimpl.experiments import tasks

    return _run_images(args, lambda seed: tasks.features(args.file, args.groups, seed=seed), IMAGES)


def _run_images(args: argparse.Namespace, load: Any, defaults: dict[str, Any]) -> int:
    from refimpl import _validation as check
    from refimpl.experiments import images, seeds

    quick = QUICK if args.quick else {}
    settings = images.Settings(**{**defaults, **quick, **_given(args, defaults)})
    jobs = check.integer("--jobs", args.jobs, minimum=1)
    task = load(settings.seed)
    with processes(jobs) as executor:
        seeds.run(task, settings, args.out, executor=executor)
    return 0


def _add_fields(parser: argparse.ArgumentParser, defaults: dict[str, Any]) -> None:
    """Add the settings with their defaults; None where they are not given."""
    for name, default in defaults.items():
        kind, text = FIELDS[name]
        said = _NONE[name] if default is None else default
        help_text = f"{text} (default: {said})"
        parser.add_argument(_option(name), type=kind, metavar=kind.__name__.upper(), help=help_text)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Collect the settings that were set on the command line."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}
