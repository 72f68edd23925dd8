"""Real data: MNIST and CIFAR-10 from files that the user has, checked as far as can be.

`load_mnist` and `load_cifar10` read and never touch the network; `verify_directory` says what a
directory holds; `fetch` downloads the official files. `odd_even` and `first_half` are the paper's
binary tasks on the two. Files are untrusted: whatever they hold, a loader returns arrays or raises
`DatasetFormatError`, within memory bounded by what the official files need, and runs nothing.
"""

from refimpl.datasets.cifar import load_cifar10
from refimpl.datasets.download import FetchError, fetch
from refimpl.datasets.errors import DatasetFormatError, DatasetMissingError, DatasetWarning
from refimpl.datasets.inspection import Finding, verify_directory
from refimpl.datasets.labels import first_half, odd_even
from refimpl.datasets.mnist import load_mnist

__all__ = [
    "DatasetFormatError",
    "DatasetMissingError",
    "DatasetWarning",
    "FetchError",
    "Finding",
    "fetch",
    "first_half",
    "load_cifar10",
    "load_mnist",
    "odd_even",
    "verify_directory",
]
