"""One BLAS thread while it is asked for, and the same bits whatever the number was before."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest

from refimpl import _workers

LIBRARIES = _workers._libraries()
needs_openblas = pytest.mark.skipif(not LIBRARIES, reason="NumPy here bundles no OpenBLAS")


def _threads():
    return [get() for get, _ in LIBRARIES]


@pytest.fixture
def two_threads():
    before = _threads()
    _workers._set([2] * len(LIBRARIES))
    yield
    _workers._set(before)


@needs_openblas
@pytest.mark.usefixtures("two_threads")
def test_one_thread_inside_and_as_before_outside_even_after_an_error():
    before = _threads()
    with suppress(RuntimeError), _workers.one_thread(), _workers.one_thread():
        raise RuntimeError
    with _workers.one_thread():
        assert _threads() == [1] * len(LIBRARIES)
    assert _threads() == before


@needs_openblas
@pytest.mark.usefixtures("two_threads")
def test_the_last_of_several_python_threads_restores():
    before, entered, leave = _threads(), threading.Event(), threading.Event()

    def other():
        with _workers.one_thread():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with _workers.one_thread():
        pass
    assert _threads() == [1] * len(LIBRARIES)
    leave.set()
    thread.join()
    assert _threads() == before


@needs_openblas
@pytest.mark.usefixtures("two_threads")
def test_products_have_the_bits_of_one_thread():
    x = np.random.default_rng(0).standard_normal((300, 768))
    with _workers.one_thread():
        inside = x @ x.T
    _workers._set([1] * len(LIBRARIES))
    np.testing.assert_array_equal(inside, x @ x.T)


def test_a_library_that_is_none_is_passed_over(tmp_path):
    path = tmp_path / "libopenblas.so"
    path.write_bytes(b"no library")
    assert _workers._functions(path) is None
    import _ctypes

    assert _workers._functions(_ctypes.__file__) is None  # a library, but no OpenBLAS
