"""Files of certificates: round trips, whom they belong to, and damage of every kind."""

from __future__ import annotations

import copy
import hashlib
import math
import struct
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refimpl import GroupMax, GroupSum, TwoLayerReLU, verify_certificate
from refimpl.certificate import Certificate, Cuts
from refimpl.certificate_files import load_certificates, save_certificates

NET = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])  # f = x, r = |x|
X, Y = np.array([[2.0], [-3.0], [1.0]]), np.array([1, -1, -1])


def leaf(M: int = 2, n_constraints: int = 1) -> Certificate:
    return Certificate(
        np.array([-1]), np.ones((1, n_constraints)), np.ones((1, M)), np.zeros((1, M))
    )


def tree() -> Certificate:
    """Of y f = -x at x = -3, split at neuron 0; nu = 1 on x >= 0, where the ball of 2 is empty."""
    return Certificate(
        np.array([0, -1, -1]),
        np.array([[0.0], [1.0]]),
        np.ones((2, 2)),
        np.array([[1.0, 0.0], [0.0, 0.0]]),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three samples, the last misclassified and without a certificate."""
    target = tmp_path / "proof.npz"
    save_certificates(target, [leaf(), tree(), None], radius=[1.5, 2, 0], net=NET, x=X, y=Y)
    return target


def test_what_was_saved_is_loaded_and_proves_what_it_did(path: Path) -> None:
    loaded = load_certificates(path)
    assert (loaded.decision, loaded.ties) == ("sign", "adversarial")
    assert loaded.radius.tolist() == [1.5, 2.0, 0.0]
    loaded.check_inputs(NET, X, Y)
    assert loaded.certificates[2] is None
    for got, want in zip(loaded.certificates, (leaf(), tree()), strict=False):
        assert got is not None
        for name in ("splits", "weights", "tau", "nu"):
            assert getattr(got, name).dtype == getattr(want, name).dtype
            assert np.array_equal(getattr(got, name), getattr(want, name))
    for i in (0, 1):
        verify_certificate(NET, X[i], Y[i], loaded.certificates[i], radius=loaded.radius[i])  # type: ignore[arg-type]  # not None


def test_decisions_ties_infinite_radii_and_several_constraints_survive(tmp_path: Path) -> None:
    net = TwoLayerReLU(np.ones((4, 3)), np.ones(4), np.ones((3, 4)))
    x = np.arange(6.0).reshape(2, 3)
    for decision, y, sizes in (
        (GroupMax([1, -1, 1]), [1, -1], [2, 1]),
        (GroupSum([1, -1, 1]), [1, -1], [1, 1]),
        ("argmax", [0, 2], [1, 1]),
    ):
        certificates = [leaf(4, size) for size in sizes]
        options: dict[str, Any] = {"decision": decision, "ties": "robust"}
        file = tmp_path / "proof.npz"
        save_certificates(file, certificates, radius=[math.inf, 1], net=net, x=x, y=y, **options)
        loaded = load_certificates(file)
        assert (loaded.decision, loaded.ties) == (decision, "robust")
        assert loaded.radius.tolist() == [math.inf, 1.0]
        assert [each.weights.shape[1] for each in loaded.certificates if each] == sizes
        loaded.check_inputs(net, x, y)


def test_a_file_without_any_certificate_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "proof.npz"
    radius = [0.5, math.inf]  # known, but without a certificate
    save_certificates(file, [None, None], radius=radius, net=NET, x=X[:2], y=Y[:2])
    loaded = load_certificates(file)
    assert loaded.certificates == (None, None)
    assert loaded.radius.tolist() == [0.0, 0.0]  # nothing is certified


@pytest.mark.parametrize("region", [{"norm": math.inf}, {"box": (-9, 9)}], ids=["norm", "box"])
def test_a_file_of_version_2_without_any_certificate_is_fine(
    tmp_path: Path, region: dict[str, Any]
) -> None:
    file = tmp_path / "proof.npz"
    save_certificates(file, [None], radius=[0], net=NET, x=X[2:], y=Y[2:], **region)
    loaded = load_certificates(file)
    assert (loaded.certificates, loaded.radius.tolist()) == ((None,), [0.0])
    loaded.check_inputs(NET, X[2:], Y[2:])


def test_another_network_or_sample_is_refused_by_name(path: Path) -> None:
    loaded = load_certificates(path)
    loaded.check_inputs(TwoLayerReLU(NET.W, [0.0, -0.0], NET.A), X, Y)  # no bias is a bias of 0
    for other in (
        TwoLayerReLU(NET.W, [0.0, 1e-300], NET.A),
        TwoLayerReLU(NET.W, None, NET.A, [1.0]),
        TwoLayerReLU(-NET.W, None, NET.A),
        TwoLayerReLU(NET.W, None, -NET.A),
    ):
        with pytest.raises(ValueError, match="net: expected the network that the certificates"):
            loaded.check_inputs(other, X, Y)
    for x, y, message in (
        (X[[0, 2, 1]], Y[[0, 2, 1]], r"x\[1\], y\[1\]: expected the sample"),
        (np.nextafter(X, 9), Y, r"x\[0\]"),
        (X, np.array([1, -1, 1]), r"x\[2\]"),
        (X[:2], Y[:2], "x: expected the 3 samples of the file, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            loaded.check_inputs(NET, x, y)


def test_fingerprints_are_those_of_the_written_format(path: Path) -> None:
    def sha(*parts: bytes) -> list[int]:
        return list(hashlib.sha256(b"".join(parts)).digest())

    loaded = load_certificates(path)
    assert loaded.samples[1].tolist() == sha(
        b"x(1,)\n", struct.pack("<d", -3.0), b"y()\n", struct.pack("<q", -1)
    )
    assert loaded.network.tolist() == sha(
        *(b"W(2, 1)\n", struct.pack("<2d", 1, -1), b"b(2,)\n", struct.pack("<2d", 0, 0)),
        *(b"A(1, 2)\n", struct.pack("<2d", 1, -1), b"c(1,)\n", struct.pack("<d", 0)),
    )


@pytest.mark.slow
def test_altering_any_byte_raises_or_changes_nothing(path: Path) -> None:
    content, original = path.read_bytes(), load_certificates(path)
    refused = []
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            loaded = load_certificates(path)
        except ValueError as error:
            refused.append(str(error))
            continue
        # Bytes that carry nothing: dates and paddings of the archive.
        assert loaded.radius.tolist() == original.radius.tolist()
        for got, want in zip(loaded.certificates, original.certificates, strict=True):
            assert (got is None) == (want is None)
            if got is not None and want is not None:
                assert got.splits.tolist() == want.splits.tolist()
                assert got.nu.tolist() == want.nu.tolist()
    assert all(str(path) in message for message in refused)
    assert len(refused) > len(content) / 14


def test_a_truncated_file_raises(path: Path) -> None:
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"proof\.npz: expected an \.npz file"):
            load_certificates(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius": np.array([1.5, 2.5, 0.0])}, "digest: expected .* altered"),
        ({"format_version": np.array(3)}, "format_version: expected 1 or 2, got 3"),
        ({"format_version": np.array(1 + 0j)}, "format_version: expected 1 or 2, got "),
        ({"extra": np.zeros(1)}, "arrays: expected constraints, decision, digest"),
        ({"nu": None}, "arrays: expected"),
        ({"digest": None}, "arrays: expected"),
    ],
)
def test_other_contents_are_refused_by_name(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(path, changes)
    with pytest.raises(ValueError, match=rf"proof\.npz: {message}"):
        load_certificates(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": np.array([1, 4, 0])}, "splits: expected 5 rows, got 4"),
        ({"nodes": np.array([5, -1, 0])}, r"nodes\[1\]: expected a positive number .*, got -1"),
        ({"nodes": np.array([1, 2, 1])}, r"leaves\[2\]: expected a positive number with a cert"),
        ({"nodes": np.array([1, 0, 0])}, r"leaves\[1\]: .* 0 without one, got 2"),
        ({"nodes": np.zeros(3, int)}, r"leaves\[0\]: .* 0 without one, got 1"),
        ({"leaves": np.array([1, 1, 0])}, "weights: expected 2 rows, got 3"),
        ({"leaves": np.array([1, 2**62, 0])}, f"weights: expected {2**62 + 1} rows, got 3"),
        ({"leaves": np.array([2**62, 2**62, 0])}, f"weights: expected {2**63} rows, got 3"),
        ({"constraints": np.array([2**62, 2**62, 0])}, f"weights: expected {3 * 2**62} rows"),
        ({"constraints": np.array([1, 0, 0])}, r"constraints\[1\]: expected a positive .*, got 0"),
        (
            {"constraints": np.array([3, -1, 0])},
            r"constraints\[1\]: expected a positive .*, got -1",
        ),
        ({"tau": np.ones((2, 2)), "nu": np.ones((2, 2))}, "tau: expected 3 rows, got 2"),
        ({"tau": np.ones((2, 2))}, r"nu: expected shape \(2, 2\), got shape \(3, 2\)"),
        ({"nu": np.zeros((3, 5))}, r"nu: expected shape \(3, 2\), got shape \(3, 5\)"),
        ({"tau": np.array(1.0)}, r"tau: expected shape \(all leaves, M\), got shape \(\)"),
        (
            {"weights": np.ones((3, 1))},
            r"weights: expected shape \(all weights,\), got shape \(3, 1\)",
        ),
        (
            {"splits": np.array([[-1, 0, -1, -1]])},
            r"splits: expected shape \(all nodes,\), got shape \(1, 4\)",
        ),
        ({"leaves": np.array([1, 2])}, r"leaves: expected shape \(3,\), got shape \(2,\)"),
        (
            {"radius": np.array([[1.5], [2], [0]])},
            r"radius: expected shape \(n,\), got shape \(3, 1\)",
        ),
        ({"radius": np.array([1.5, 2, 1])}, r"radius\[2\]: .* 0 without one, got 1"),
        ({"radius": np.array([0.0, 2, 0])}, r"radius\[0\]: expected a positive number .*, got 0"),
        ({"radius": np.array([-1.0, 2, 0])}, r"radius\[0\]: expected a positive number .*, got -1"),
        ({"radius": np.array([1.5, math.nan, 0])}, r"radius\[1\]: expected .*, got nan"),
        ({"samples": np.zeros((3, 16), np.uint8)}, r"samples: expected shape \(3, 32\)"),
        ({"samples": np.zeros((2, 32), np.uint8)}, r"samples: expected shape \(3, 32\)"),
        ({"network": np.zeros(8, np.uint8)}, r"network: expected shape \(32,\)"),
        ({"decision": np.array("foo")}, "decision: expected 'sign' or 'argmax' or"),
        ({"decision": np.array(["sign"])}, r"decision: expected shape \(\), got shape \(1,\)"),
        ({"decision": np.array(1)}, "decision: expected dtype <U, got <i8"),
        ({"decision": np.array("group_max")}, "labels: expected"),
        ({"labels": np.array([1, -1])}, "labels: expected none for sign, got 2"),
        ({"splits": np.array([-1.0, 0, -1, -1])}, "splits: expected dtype <i8, got <f8"),
        ({"radius": np.array([1.5, 2, 0], ">f8")}, "radius: expected dtype <f8, got >f8"),
        ({"ties": np.array("none")}, "ties: expected"),
    ],
)
def test_contents_that_do_not_fit_are_refused_even_with_a_right_digest(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    arrays = rewrite(path, changes)
    sha = hashlib.sha256()
    for name in sorted(set(arrays) - {"digest"}):
        little = arrays[name].astype(arrays[name].dtype.newbyteorder("<"))
        sha.update(f"{name}{little.shape}\n".encode() + little.tobytes())
    np.savez(path, **arrays | {"digest": np.frombuffer(sha.digest(), dtype=np.uint8)})
    with pytest.raises(ValueError, match=rf"proof\.npz: {message}"):
        load_certificates(path)


def rewrite(path: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Write the file anew with some arrays changed, or left out where None; return the arrays."""
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, **arrays)
    return arrays


@pytest.mark.slow
def test_compressed_members_are_refused_before_anything_is_unpacked(
    tmp_path: Path, path: Path
) -> None:
    """A file of 400 kB that would unpack to 400 MB, and one that is right but for its form."""
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    bomb = arrays | {"nu": np.zeros((50_000_000, 1))}
    np.savez_compressed(tmp_path / "bomb.npz", **bomb)
    assert (tmp_path / "bomb.npz").stat().st_size < 1_000_000
    for name in ("small.npz", "bomb.npz"):
        tracemalloc.start()
        with pytest.raises(ValueError, match=rf"{name}: expected an .npz file .* is compressed"):
            load_certificates(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.stop()


def test_members_that_share_their_bytes_are_refused(tmp_path: Path, path: Path) -> None:
    """Many entries of the archive's directory about one member: Python's zipfile reads each."""
    target = tmp_path / "overlap.npz"
    target.write_bytes(path.read_bytes())
    with zipfile.ZipFile(target, "a") as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        for i in range(2000):
            twin = copy.copy(largest)
            twin.filename = f"copy{i}.npy"
            archive.filelist.append(twin)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(
        ValueError, match=r"overlap.npz: expected an .npz file of arrays, got members that"
    ):
        load_certificates(target)


def test_a_missing_file_is_an_error_of_the_file_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_certificates(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"certificates": None}, "certificates: expected a sequence, got NoneType"),
        ({"certificates": leaf()}, "certificates: expected a sequence, got Certificate"),
        ({"certificates": [leaf(), None]}, "certificates: expected one for each of 3 samples"),
        ({"certificates": "abc"}, r"certificates\[0\]: expected a Certificate or None, got str"),
        ({"certificates": [None, [-1], None]}, r"certificates\[1\]: expected a .*, got list"),
        ({"radius": [1.0, 1.0]}, r"radius: expected real numbers of shape \(3,\), got shape"),
        ({"radius": [[1.5], [2.0], [0.0]]}, r"radius: expected real numbers of shape \(3,\)"),
        ({"radius": "a"}, "radius: expected an array of real numbers"),
        ({"radius": None}, "radius: expected an array of real numbers"),
        ({"radius": ["1.5", "2", "0"]}, "radius: expected an array of real numbers"),
        ({"radius": [1.5, [2.0], 0.0]}, "radius: expected an array of real numbers"),
        ({"radius": [0.0, 2.0, 1.0]}, r"radius\[0\]: expected a positive number"),
        ({"radius": [1.5, -2.0, 1.0]}, r"radius\[1\]: expected a positive number"),
        ({"radius": [math.nan, 2.0, 0.0]}, "radius: expected finite numbers, got nan"),
        ({"radius": [-math.inf, 2.0, 0.0]}, "radius: expected finite numbers, got -inf"),
        ({"x": X[:, :0]}, "x: expected"),
        ({"y": [1, 2, 3]}, "y: expected"),
        ({"decision": "argmax"}, "decision: expected"),
        ({"ties": "none"}, "ties: expected"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    good = {"certificates": [leaf(), tree(), None], "radius": [1.5, 2.0, 0.0], "x": X, "y": Y}
    with pytest.raises(ValueError, match=message):
        save_certificates(tmp_path / "proof.npz", net=NET, **good | changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": np.array(-1)}, r"splits: expected real numbers of shape \(nodes,\)"),
        ({"splits": np.array([], int)}, r"splits: expected .* got shape \(0,\)"),
        ({"splits": np.array([-0.7])}, "splits: expected integers from -2 to 1, got -0.7"),
        ({"splits": np.array([2, -1, -1])}, "splits: expected integers from -2 to 1, got 2"),
        ({"splits": np.array([1e300])}, r"splits: expected integers from -2 to 1, got 1e\+300"),
        ({"splits": None}, "splits: expected an array of real numbers"),
        ({"weights": np.ones(1)}, r"weights: expected real numbers of shape \(leaves, I\)"),
        ({"weights": np.ones((1, 0))}, r"weights: expected .* got shape \(1, 0\)"),
        ({"weights": np.ones((1, 1)) * 1j}, "weights: expected an array of real numbers"),
        ({"weights": [[math.nan]]}, "weights: expected finite numbers"),
        ({"weights": [[2**53 + 1]]}, "weights: expected numbers that float64 holds exactly"),
        ({"tau": np.ones((1, 3))}, r"tau: expected real numbers of shape \(1, 2\)"),
        ({"nu": np.ones((2, 2))}, r"nu: expected real numbers of shape \(1, 2\)"),
        ({"nu": "a"}, "nu: expected an array of real numbers"),
    ],
)
def test_certificates_that_would_be_altered_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    bad = replace(leaf(), **changes)
    options: dict[str, Any] = {"net": NET, "x": X[:2], "y": Y[:2], "radius": [2.0, 1.5]}
    with pytest.raises(ValueError, match=rf"^certificates\[1\]\.{message}"):
        save_certificates(tmp_path / "proof.npz", [leaf(), bad], **options)
    assert list(tmp_path.iterdir()) == []


def test_lists_and_other_types_of_real_numbers_are_saved_as_what_they_are(tmp_path: Path) -> None:
    lists: Any = Certificate([-1], [[1]], np.ones((1, 2), np.float32), [[0, 0]])  # type: ignore[arg-type]  # lists
    save_certificates(tmp_path / "proof.npz", (lists,), radius=[1], net=NET, x=X[:1], y=Y[:1])
    (got,) = load_certificates(tmp_path / "proof.npz").certificates
    assert got is not None
    for name in ("splits", "weights", "tau", "nu"):
        assert getattr(got, name).dtype == getattr(leaf(), name).dtype
        assert np.array_equal(getattr(got, name), getattr(leaf(), name))


def test_a_decision_that_the_network_cannot_make_is_refused(path: Path) -> None:
    loaded = load_certificates(path)
    for decision in ("argmax", GroupSum([1, -1])):
        with pytest.raises(ValueError, match="decision: expected"):
            replace(loaded, decision=decision).check_inputs(NET, X, np.abs(Y))


# Version 2: parabolas and narrowing steps


def curved() -> Certificate:
    """A leaf below a narrowing step, with a parabola and a ball that nothing reads."""
    rows = np.ones((2, 2))
    cuts = (np.array([value]) for value in (0, 1, 1, 3.6, 0.0))
    splits, kappa, ball = np.array([-2, -1]), rows * [0.0, 0.25], np.array([0.5, 0.0])
    return Certificate(splits, rows[:, :1], rows, 0 * rows, kappa, ball, Cuts(*cuts))


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    target = tmp_path / "proof.npz"
    save_certificates(target, [leaf(), curved(), None], radius=[1.5, 0.5, 0], net=NET, x=X, y=Y)
    return target


def test_parabolas_and_cuts_survive_and_others_are_none(newer: Path) -> None:
    first, second, third = load_certificates(newer).certificates
    assert third is None
    assert first is not None
    assert second is not None
    assert (first.kappa, first.ball, first.cuts) == (None, None, None)
    want = curved()
    for name in ("splits", "weights", "tau", "nu", "kappa", "ball"):
        got = getattr(second, name)
        assert np.array_equal(got, getattr(want, name))
        assert got.dtype == getattr(want, name).dtype
    assert second.cuts is not None
    assert want.cuts is not None
    for column, expected in zip(second.cuts, want.cuts, strict=True):
        assert column.tolist() == expected.tolist()
    with np.load(newer) as archive:
        assert archive["format_version"] == 2
        assert archive["cuts"].tolist() == [0, 1, 0]
    verify_certificate(NET, X[0], Y[0], first, radius=1.5)
    verify_certificate(NET, X[1], Y[1], second, radius=0.5)


def test_certificates_without_parabolas_and_steps_are_written_as_version_1(path: Path) -> None:
    with np.load(path) as archive:
        assert archive["format_version"] == 1
        assert "kappa" not in archive.files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kappa": None}, "arrays: expected ball, constraints, cut_bound"),
        ({"kappa": np.ones((3, 3))}, r"kappa: expected shape \(3, 2\), got shape \(3, 3\)"),
        ({"ball": np.ones(2)}, r"ball: expected shape \(3,\), got shape \(2,\)"),
        ({"cuts": np.array([0, 2, 0])}, "cut_row: expected 2 rows, got 1"),
        ({"cuts": np.array([-1, 2, 0])}, r"cuts\[0\]: expected at least 0, .*, got -1"),
        ({"cuts": np.array([0, 0, 1])}, r"cuts\[2\]: expected .* 0 without a certificate, got 1"),
        ({"cut_mu": np.ones(2)}, r"cut_mu: expected shape \(1,\), got shape \(2,\)"),
        ({"cut_side": np.ones(1)}, "cut_side: expected dtype <i8, got <f8"),
        ({"format_version": np.array(1)}, "arrays: expected constraints, decision"),
    ],
)
def test_contents_of_version_2_that_do_not_fit_are_refused(
    newer: Path, changes: dict[str, Any], message: str
) -> None:
    test_contents_that_do_not_fit_are_refused_even_with_a_right_digest(newer, changes, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kappa": np.ones((1, 2))}, r"kappa: expected real numbers of shape \(2, 2\)"),
        ({"ball": np.ones((2, 1))}, r"ball: expected real numbers of shape \(2,\)"),
        ({"ball": [math.nan, 0]}, "ball: expected finite"),
        ({"cuts": 3}, "cuts: expected Cuts or None, got int"),
        ({"cuts": Cuts([0.5], [0], [1], [1.0], [1.0])}, r"cuts\.row: expected integers, got 0.5"),  # type: ignore[arg-type]  # lists
        ({"cuts": Cuts([0], [0], [1], [1.0], [])}, r"cuts\.mu: expected real numbers of shape"),  # type: ignore[arg-type]  # lists
    ],
)
def test_parabolas_and_cuts_that_would_be_altered_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    options: dict[str, Any] = {"net": NET, "x": X[:1], "y": Y[:1], "radius": [0.5]}
    with pytest.raises(ValueError, match=rf"^certificates\[0\]\.{message}"):
        save_certificates(tmp_path / "proof.npz", [replace(curved(), **changes)], **options)
    assert list(tmp_path.iterdir()) == []


def test_no_cuts_at_all_are_the_same_as_none(tmp_path: Path) -> None:
    none = Cuts(*(np.empty(0) for _ in Cuts._fields))  # type: ignore[arg-type]  # of no type yet
    file = tmp_path / "proof.npz"
    save_certificates(file, [replace(curved(), cuts=none)], radius=[0.5], net=NET, x=X[:1], y=Y[:1])
    (got,) = load_certificates(file).certificates
    assert got is not None
    assert got.cuts is None


def test_compressed_files_are_refused(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {**archive}
    np.savez_compressed(path, **arrays)
    with pytest.raises(ValueError, match=r"proof\.npz: expected an \.npz .* which is compressed"):
        load_certificates(path)


# Norms and boxes

BOXED = {"norm": math.inf, "box": ([0.25], math.inf)}


def test_norm_and_box_survive_and_stand_in_version_2(tmp_path: Path) -> None:
    target = tmp_path / "proof.npz"
    asked: dict[str, Any] = {"net": NET, "x": X[:1], "y": Y[:1]}
    save_certificates(target, [leaf()], radius=[math.inf], **asked, **BOXED)
    loaded = load_certificates(target)
    assert loaded.norm == math.inf
    assert loaded.box is not None
    assert [side.tolist() for side in loaded.box] == [[0.25], [math.inf]]
    assert repr(loaded).endswith("ties='adversarial', norm=inf, box=True)")
    loaded.check_inputs(NET, X[:1], Y[:1])
    proof = loaded.certificates[0]
    assert proof is not None
    options: dict[str, Any] = {"norm": loaded.norm, "box": loaded.box}
    verify_certificate(NET, X[0], Y[0], proof, radius=loaded.radius[0], **options)
    with np.load(target) as archive:
        assert archive["format_version"] == 2
    save_certificates(target, [leaf()], radius=[1.5], **asked, norm=1)
    loaded = load_certificates(target)
    assert (loaded.norm, loaded.box) == (1.0, None)
    save_certificates(target, [leaf()], radius=[1.5], **asked, norm=2, box=None)
    loaded = load_certificates(target)
    assert (loaded.norm, loaded.box) == (2.0, None)
    with np.load(target) as archive:
        assert archive["format_version"] == 1
        assert "norm" not in archive.files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": np.array(3.0)}, "norm: expected 1, 2 or numpy.inf, got 3.0"),
        ({"norm": np.array(np.nan)}, "norm: expected 1, 2 or numpy.inf, got nan"),
        ({"norm": np.array(2)}, "norm: expected dtype <f8, got <i8"),
        ({"norm": None}, "arrays: expected ball, box_hi, box_lo, constraints"),
        ({"box_lo": None}, "arrays: expected ball, box_hi, box_lo, constraints"),
        (
            {"box_lo": np.array([3.0]), "box_hi": np.array([2.0])},
            "box: expected no lo above",
        ),
        ({"box_lo": np.array([np.nan])}, "box: expected finite numbers, got nan"),
        ({"box_lo": np.zeros(2)}, r"box_\w\w: expected shape"),
        ({"format_version": np.array(1)}, "arrays: expected constraints, decision"),
    ],
)
def test_norms_and_boxes_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "proof.npz"
    save_certificates(path, [leaf(), None], radius=[1.5, 0], net=NET, x=X[:2], y=Y[:2], norm=1)
    test_contents_that_do_not_fit_are_refused_even_with_a_right_digest(path, changes, message)


def test_a_box_without_the_samples_is_refused(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"radius": [1.5], "net": NET, "x": X[:1], "y": Y[:1]}
    with pytest.raises(ValueError, match="x: expected samples in the box"):
        save_certificates(tmp_path / "proof.npz", [leaf()], **asked, box=(0, 1))
    with pytest.raises(ValueError, match="norm: expected 1, 2 or numpy"):
        save_certificates(tmp_path / "proof.npz", [leaf()], **asked, norm=0)
    assert not list(tmp_path.iterdir())
    # Of samples that hash to the same, nothing but a box made by hand can be wrong.
    save_certificates(tmp_path / "proof.npz", [leaf()], **asked, box=(0, 3))
    wrong = replace(load_certificates(tmp_path / "proof.npz"), box=(np.zeros(1), np.ones(1)))
    with pytest.raises(ValueError, match="x: expected samples in the box"):
        wrong.check_inputs(NET, X[:1], Y[:1])
