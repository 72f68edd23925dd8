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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refimpl import _validation as check
from refimpl._workers import processes
from refimpl.cli import options
from refimpl.setting import ImageSettings, SyntheticSettings

if TYPE_CHECKING:
    from refimpl.experiments.tasks import Task

CIFAR10: dict[str, Any] = {
    **{"epochs": 20, "two_step": 0.5, "ten_step": 0.5, "sigma": 0.01},
    **{"radii": 200, "max_nodes": 5000},
}
QUICK: dict[str, Any] = {
    "train": 6000,
    "epochs": 5,
    "radii": 40,
    "other_radii": 20,
    "seeds": 2,
    "max_nodes": 300,
}


def add_parser(subparsers: Any) -> None:
    """Add ``reproduce`` and its experiments."""
    text = "train the paper's networks and find their exact robust radii"
    parser = options.add_command(subparsers, "reproduce", text, __doc__)
    experiments = parser.add_subparsers(metavar="EXPERIMENT", required=True)
    text = "clusters around features with one cosine"
    synthetic = options.add_command(experiments, "synthetic", text, run_synthetic.__doc__)
    options.add_settings(synthetic, SyntheticSettings())
    options.add_labels(synthetic, "labels of the clusters, in place of --positive")
    options.add_out(synthetic, "synthetic")
    _add_save(synthetic)
    synthetic.set_defaults(run=run_synthetic)

    images = ImageSettings()
    mnist = options.add_command(experiments, "mnist", "odd against even digits", _mnist.__doc__)
    _add_data(mnist, "MNIST")
    _add_images(mnist, "mnist", images, _mnist)
    text = "the first five classes against the last"
    cifar10 = options.add_command(experiments, "cifar10", text, _cifar10.__doc__)
    _add_data(cifar10, "CIFAR-10")
    _add_images(cifar10, "cifar10", replace(images, **CIFAR10), _cifar10)
    text = "frozen features of your own, from a file"
    features = options.add_command(experiments, "features", text, _features.__doc__)
    text = "arrays x, y and optionally x_test, y_test, as above"
    features.add_argument("file", type=Path, metavar="FILE.npz", help=text)
    text = "a label, 1 or -1, for each class (default: 1 for the first half)"
    options.add_labels(features, text, "--groups")
    _add_images(features, "features", images, _features)


def _add_data(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--data", metavar="DIR", help=f"folder of {name} (default: $REFIMPL_DATA)")
    text = f"take data in the format of {name} that are not all of it, or not the published ones"
    parser.add_argument("--no-verify", action="store_true", help=text)


def _add_images(
    parser: argparse.ArgumentParser, name: str, settings: ImageSettings, load: Any
) -> None:
    quick = " ".join(f"{options.option_of(field)} {value}" for field, value in QUICK.items())
    parser.add_argument("--quick", action="store_true", help=f"as {quick}, where not given")
    options.add_jobs(parser)
    options.add_settings(parser, settings)
    options.add_out(parser, name)
    _add_save(parser)
    parser.set_defaults(run=lambda args: _run_images(args, settings, load))


def _add_save(parser: argparse.ArgumentParser) -> None:
    text = "write networks, samples and radii there too, as .npz files"
    parser.add_argument("--save", action="store_true", help=text)


def run_synthetic(args: argparse.Namespace) -> int:
    """Run the paper's synthetic experiment: clusters in d dimensions, half of them +1.

    Trains a 2-class network on the labels of the clusters and a multi-class network
    on the clusters, and compares their radii with the theory.

      refimpl reproduce synthetic
      refimpl reproduce synthetic --k 4 --d 400 --positive 1 --out small
      refimpl reproduce synthetic --cosine 0.3

    The defaults are the paper's, and take some seconds. No law of the radii is
    known for features that are not orthogonal (--cosine), and none is shown.
    """
    from refimpl.experiments import synthetic

    if args.labels is not None and args.positive is not None:
        check.fail("--labels", "either this or --positive", "both")
    labels = None if args.labels is None else tuple(args.labels)
    given = options.given(args, SyntheticSettings)
    synthetic.run(SyntheticSettings(**given, labels=labels), args.out, save=args.save)
    return 0


def _mnist(args: argparse.Namespace, seed: int) -> Task:
    """Tell odd from even digits of MNIST.

    A 2-class network is trained on these two labels, and a multi-class network, as
    wide, on the ten digits.

      refimpl data fetch mnist DIR
      refimpl reproduce mnist --data DIR --quick
      refimpl reproduce mnist --data DIR --jobs 2

    --quick takes about a minute, the whole some minutes.
    """
    from refimpl.experiments import tasks

    return tasks.mnist(args.data, verify=not args.no_verify)


def _cifar10(args: argparse.Namespace, seed: int) -> Task:
    """Tell the first five classes of CIFAR-10 from the last five.

    A 2-class network is trained on these two labels, and a multi-class network, as
    wide, on the ten classes.

      refimpl data fetch cifar10 DIR
      refimpl reproduce cifar10 --data DIR --quick
      refimpl reproduce cifar10 --data DIR --jobs 2

    --quick is for a first look; the whole takes many minutes.
    """
    from refimpl.experiments import tasks

    return tasks.cifar10(args.data, verify=not args.no_verify)


def _features(args: argparse.Namespace, seed: int) -> Task:
    """Tell two groups of classes apart by feature vectors of your own.

    They are what a frozen network gives. A 2-class network is trained on the two
    groups, and a multi-class network, as wide, on the classes.

      refimpl reproduce features FILE.npz --groups 1,1,-1 --quick

    FILE.npz, as numpy.savez writes it, holds
      x               (n,d) real numbers, a feature vector a row
      y               (n,) integers, their classes 0..k-1, of which none is missing
      x_test, y_test  the same for test samples, with the same d and k; optional:
                      without them a fifth of the rows, drawn at random, is held out
    """
    from refimpl.experiments import tasks

    return tasks.features(args.file, args.groups, seed=seed)


def _run_images(args: argparse.Namespace, settings: ImageSettings, load: Any) -> int:
    from refimpl.experiments import seeds

    given = options.given(args, settings)
    settings = replace(settings, **{**(QUICK if args.quick else {}), **given})
    if args.save and "file" in args:
        options.check_distinct([args.file], {"--out": args.out / "samples.npz"})
    with processes(args.jobs) as executor:
        task = load(args, settings.seed)
        seeds.run(task, settings, args.out, executor=executor, save=args.save)
    return 0
