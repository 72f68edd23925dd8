"""The frozen vectors: values stay until their version is raised, and damage is refused."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import comb, ndtr

from refimpl import GroupMax, GroupSum, TwoLayerReLU, robust_radius, smallest_step
from refimpl.conformance import vectors
from refimpl.conformance.adapter import METHODS, REGION
from refimpl.conformance.claims import OTHER, claims
from refimpl.conformance.defects.plain import PlainSingle
from refimpl.conformance.vectors import MANIFEST, check_vectors, write_vectors
from refimpl.equations import EQUATIONS

FROZEN = Path(__file__).parent / "vectors"
# The digest of all frozen values, by version: a version never changes its values.
DIGESTS = {
    1: "e601919ebf0de5e71a023ed279651ad65e37db91131122c6cce1c772d0534a31",
    2: "1ab09ba759d2855f0fd364168b2b6aec0656e3506eb47e185bee6c3b1e5eade3",
    3: "ebc300a6200c835d2d48222f701855f8d46d439d603355b26afccd4c62013a30",
}
LISTED = json.loads((FROZEN / MANIFEST).read_text())
ENTRIES = {Path(entry["file"]).stem: entry for entry in LISTED["files"]}
FEW = ("outputs", "binary-gradients", "smallest-step")
FAR = 1e3  # distances beyond it count as infinite: perturbed slopes are not exactly 0

Case = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three of the frozen files, as if there were no others."""
    few = {name: vectors.VECTORS[name] for name in FEW}
    monkeypatch.setattr(vectors, "VECTORS", few)
    for name in FEW:
        shutil.copy(FROZEN / f"{name}.npz", tmp_path)
    (tmp_path / MANIFEST).write_text(
        json.dumps(LISTED | {"files": [ENTRIES[name] for name in FEW]})
    )
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def frozen_cases(name: str) -> list[tuple[Case, Case]]:
    """Inputs and outputs of every case of a file, as NumPy reads them."""
    entry = ENTRIES[name]
    with np.load(FROZEN / entry["file"]) as arrays:
        return [
            (
                {key: arrays[f"{i}.{key}"] for key in entry["inputs"]},
                {key: arrays[f"{i}.{key}"] for key in entry["outputs"]},
            )
            for i in range(entry["count"])
        ]


# What is frozen.


@pytest.mark.slow
def test_frozen_values_are_what_the_package_computes() -> None:
    assert check_vectors(FROZEN) == [], "raise vectors.VERSION and write tests/vectors anew"


def test_frozen_values_change_with_their_version_only() -> None:
    digest = hashlib.sha256("".join(it["sha256"] for it in LISTED["files"]).encode()).hexdigest()
    assert DIGESTS[vectors.VERSION] == digest


def test_every_equation_has_vectors_or_a_reason_not_to() -> None:
    reasons = (vectors.__doc__ or "").split("No vectors: ")[1]
    without = set(re.findall(r"E\d+", reasons))
    tags = {tag for entry in LISTED["files"] for tag in entry["equations"]}
    assert tags | without == EQUATIONS.keys() | OTHER.keys()
    assert not tags & without


def test_statements_are_those_of_the_equations() -> None:
    for entry in LISTED["files"]:
        for tag, statement in entry["equations"].items():
            assert statement == (OTHER[tag] if tag in OTHER else EQUATIONS[tag][0])


def test_cosines_are_filed_under_the_tag_of_their_claims() -> None:
    tags = {name.split("-")[0] for name, it in claims().items() if "cosine_matrix" in it.methods}
    assert tags == ENTRIES["cosines"]["equations"].keys()


def test_inputs_are_exact_in_single_precision() -> None:
    for name in ENTRIES:
        for inputs, _ in frozen_cases(name):
            for key, value in inputs.items():
                assert np.array_equal(value.astype(np.float32), value), (name, key)


def test_every_branch_of_the_radii_is_taken() -> None:
    """Each minimum of E20 to E22 is attained by either side."""
    bias_matters, own_side_matters = set(), set()
    for inputs, outputs in frozen_cases("centre-radii"):
        half = np.sqrt(inputs["d"] / 2)
        all_opposite = np.sqrt(inputs["d"] / (1 + inputs["k_opposite"]))
        bias_matters |= {("max", bool(outputs["decoupled"] < 0.99 * half))}
        bias_matters |= {("sum", bool(outputs["group_sum"] < 0.99 * all_opposite))}
    for inputs, _ in frozen_cases("averaging-radii"):
        for x, y in zip(inputs["x"], inputs["y"], strict=True):
            own, other = group_sums32(inputs["features"], y * inputs["labels"])
            p, q = x @ own / 4, x @ other / 4
            own_side_matters |= {bool(p / np.sqrt(2) < (p - q) / 2)}
    assert len(bias_matters) == 4
    assert own_side_matters == {True, False}


# The format.


def documented(heading: str) -> list[str]:
    """Names in the first column of the block after this heading."""
    block = (vectors.__doc__ or "").split(f"{heading}:\n\n")[1].split("\n\n")[0]
    columns = [line[4:].split("  ")[0] for line in block.splitlines() if line[4] != " "]
    return [name for column in columns for name in column.split(", ")]


def test_documented_keys_are_those_of_the_manifest() -> None:
    assert documented("entries. The manifest is JSON") == list(LISTED)
    for entry in LISTED["files"]:
        assert documented("Each entry is an object") == list(entry)


@pytest.mark.parametrize(("heading", "field"), [("inputs", "inputs"), ("outputs", "outputs")])
def test_documented_names_are_those_of_the_arrays(heading: str, field: str) -> None:
    names = {name for entry in LISTED["files"] for name in entry[field]}
    assert set(documented(f"The {heading}")) == names


def plain_read(raw: bytes) -> tuple[str, tuple[int, ...], list[float]]:
    """Read an .npy file as the format's description says, without NumPy."""
    assert raw[:8] == b"\x93NUMPY\x01\x00"
    (length,) = struct.unpack("<H", raw[8:10])
    header = ast.literal_eval(raw[10 : 10 + length].decode("ascii"))
    assert header["fortran_order"] is False
    code = {"<f8": "d", "<i8": "q"}[header["descr"]]
    shape = header["shape"]
    return code, shape, list(struct.unpack(f"<{prod(shape)}{code}", raw[10 + length :]))


def test_files_are_read_without_numpy() -> None:
    for entry in LISTED["files"]:
        with (
            zipfile.ZipFile(FROZEN / entry["file"]) as archive,
            np.load(archive.filename) as arrays,
        ):
            names = [*entry["inputs"], *entry["outputs"]]
            expected = {f"{i}.{name}.npy" for i in range(entry["count"]) for name in names}
            assert set(archive.namelist()) == expected
            for item in archive.infolist():
                assert item.compress_type == zipfile.ZIP_STORED
                code, shape, values = plain_read(archive.read(item))
                array = arrays[item.filename.removesuffix(".npy")]
                assert (array.shape, array.ravel().tolist()) == (shape, values)
                assert (array.dtype.kind == "i") == (code == "q")
                assert shape


def test_scalars_are_arrays_of_one_number_and_labels_integers() -> None:
    with zipfile.ZipFile(FROZEN / "binary-training.npz") as archive:
        assert plain_read(archive.read("0.learning_rate.npy")) == ("d", (1,), [0.125])
        assert plain_read(archive.read("0.steps.npy")) == ("q", (1,), [3])
        assert plain_read(archive.read("0.targets.npy"))[:2] == ("q", (5,))
    with zipfile.ZipFile(FROZEN / "smallest-step.npz") as archive:
        steps = [plain_read(archive.read(f"{i}.t.npy"))[2] for i in range(6)]
        assert any(np.inf in step for step in steps)


# The tolerances.


def sizes(name: str, output: str) -> float:
    """Largest finite entry of an output, in size."""
    values = np.concatenate([outputs[output].ravel() for _, outputs in frozen_cases(name)])
    return float(np.abs(values[np.isfinite(values)]).max())


@pytest.mark.parametrize("name", ENTRIES)
def test_tolerances_are_small_against_the_outputs(name: str) -> None:
    entry = ENTRIES[name]
    for output in entry["outputs"]:
        size, double = sizes(name, output), entry["tolerance"][output]
        single = entry["tolerance_float32"][output]
        assert 0 <= double <= 1e-8 * size
        assert double <= single <= 1e-3 * size, output


def single(value: Any) -> Any:
    """Scalars as numbers, arrays in float32 or int16, since int64 times float32 is float64."""
    if value.shape == (1,) and value.dtype.kind == "i":
        return int(value[0])
    if value.shape == (1,):
        return np.float32(value[0])
    return value.astype(np.float32 if value.dtype.kind == "f" else np.int16)


def relu32(x: Any, W: Any, b: Any) -> Any:
    return np.maximum(x @ W.T + b, np.float32(0))


def decomposition32(**case: Any) -> Case:
    names = METHODS["decompose"].arguments
    feature, noise = PlainSingle().decompose(*(case[name] for name in names))
    C = PlainSingle().coefficients(*(case[n] for n in names if n not in ("cluster", "features")))
    return {"coefficients": C, "feature": feature, "noise": noise}


def increments32(x: Any, cluster: Any, features: Any, learning_rate: Any, m: int) -> Case:
    C = learning_rate / np.float32(len(x) * m)
    counts = np.bincount(cluster, minlength=len(features)).astype(np.float32)
    noise = np.square(x - features[cluster]).sum(axis=1)
    return {
        "coefficient": C,
        "feature": np.square(features).sum(axis=1) * counts * C,
        "noise": noise * C,
    }


def paper32(W: Any, b: Any, x: Any) -> Case:
    half, H, plain = np.float32(0.5), relu32(x, W, b), relu32(x, W, np.float32(0))
    return {
        "binary": half * (H[:, 0] + H[:, 1] - H[:, 2] - H[:, 3]),
        "multiclass": half * np.stack([plain[:, 0] + plain[:, 1], plain[:, 2] + plain[:, 3]], 1),
    }


def group_sums32(features: Any, labels: Any) -> tuple[Any, Any]:
    plus, minus = (features[labels == side].sum(axis=0) for side in (1, -1))
    return plus, minus


def idealised32(features: Any, labels: Any, bias: Any, x: Any) -> Case:
    plus, minus = (np.maximum(x @ v, 0) for v in group_sums32(features, labels))
    return {"averaging": plus - minus, "decoupled": relu32(x, features, bias)}


def centre32(k: int, k_opposite: int, d: int, bias: Any) -> Case:
    root, n = np.sqrt(np.float32(d)), np.arange(k_opposite + 1, dtype=np.float32)
    return {
        "averaging": np.sqrt(np.float32(d) / np.float32(k)),
        "decoupled": min(np.sqrt(np.float32(d) / np.float32(2)), root + bias / root),
        "group_sum": ((root + (n - 1) * -bias / root) / np.sqrt(1 + n)).min(),
    }


def averaging32(x: Any, y: Any, features: Any, labels: Any) -> Case:
    radius = []
    for row, side in zip(x, y, strict=True):
        own, other = group_sums32(features, side * labels)
        to_zero = row @ own / np.linalg.norm(own)
        to_tie = row @ (own - other) / np.linalg.norm(own - other)
        radius.append(max(min(to_zero, to_tie), np.float32(0)))
    return {"radius": np.array(radius)}


def integral32(values: Any, step: Any) -> Any:
    """Trapezoidal rule in float32."""
    assert values.dtype == np.float32
    return (values[:-1] + values[1:]).sum() * step / 2


def laws32(epsilons: Any, n_positive: int, n_negative: int, d: int) -> Case:
    """E23 to E25 by the trapezoidal rule."""
    u, step = np.linspace(-9, 9, 2001, dtype=np.float32), np.float32(18 / 2000)
    density = np.exp(-u * u / 2) / np.sqrt(2 * np.float32(np.pi))
    positive, root = u >= 0, np.sqrt(np.float32(d))
    s = u[positive]
    chi = {1: 2 * density[positive], 2: s * np.exp(-s * s / 2)}  # densities of |g| and of |(g, g')|
    result = {kind: np.zeros(len(epsilons)) for kind in ("averaging", "group_max", "group_sum")}
    k = n_positive + n_negative
    for own, opp in ((n_positive, n_negative), (n_negative, n_positive)):
        a, b, c = (np.sqrt(np.float32(it)) for it in (own, opp, k))
        for i, e in enumerate(epsilons):
            p = root + a * u
            inside = np.where(p > e * a, ndtr((p - e * c) / b), np.float32(0))
            result["averaging"][i] += own / k * integral32(density * inside, step)
            below = ndtr(u + root - np.sqrt(np.float32(2)) * e) ** opp
            result["group_max"][i] += own / k * integral32(density * below, step)
            centre = root / np.sqrt(np.float32(1 + opp))
            law = ndtr(centre - e)
            far = ndtr(centre - np.sqrt(np.maximum(e * e - s * s, 0)))
            parts = [law, *(integral32(chi[j] * far, step) for j in range(1, own))]
            shares = [comb(own - 1, j) / 2 ** (own - 1) * part for j, part in enumerate(parts)]
            result["group_sum"][i] += own / k * sum(shares)
    return result


def linear32(W: Any, b: Any, A: Any, c: Any, x: Any, y: Any) -> Case:
    f = PlainSingle().outputs(W, b, A, c, x)
    g = PlainSingle().input_gradient(W, b, A, c, x, np.ones((len(x), 1), np.float32))
    moved = x - f * g / np.square(g).sum(axis=1, keepdims=True)
    return {"x_adv": np.where(y[:, None] * f > 0, moved, x)}


METHOD = {
    "outputs": "outputs",
    "logistic-loss": "loss",
    "cross-entropy": "loss",
    "binary-gradients": "parameter_gradients",
    "multiclass-gradients": "parameter_gradients",
    "input-gradient": "input_gradient",
    "binary-training": "train",
    "multiclass-training": "train",
    "cosines": "cosine_matrix",
    "closed-form-attack": "closed_form_attack",
    "projection": "project",
    "projection-box": "project",
    "projection-linf-box": "project",
    "robust-accuracy": "robust_accuracy",
}
FORMULAS: dict[str, Callable[..., Case]] = {
    "paper-networks": paper32,
    "decomposition": decomposition32,
    "increment-bounds": increments32,
    "idealised-networks": idealised32,
    "centre-radii": centre32,
    "averaging-radii": averaging32,
    "robust-accuracy-laws": laws32,
    "linear-step": linear32,
}


def by_method(name: str, case: Case) -> Case:
    """Outputs of the second implementation, in float32."""
    method = METHOD[name]
    region = {it: case[it] for it in REGION if it in case}
    arguments = (case[it] for it in METHODS[method].arguments)
    results = getattr(PlainSingle(), method)(*arguments, **region)
    outputs = ENTRIES[name]["outputs"]
    return dict(zip(outputs, (results,) if len(outputs) == 1 else results, strict=True))


@pytest.mark.parametrize("name", [*METHOD, *FORMULAS])
def test_arithmetic_in_float32_is_within_its_tolerance(name: str) -> None:
    for inputs, outputs in frozen_cases(name):
        case = {key: single(value) for key, value in inputs.items()}
        got = by_method(name, case) if name in METHOD else FORMULAS[name](**case)
        assert got.keys() == outputs.keys()
        for output, value in got.items():
            off = np.abs(np.reshape(value, outputs[output].shape) - outputs[output])
            assert off.max() <= ENTRIES[name]["tolerance_float32"][output], output


def step(net: Any, x: Any, y: Any, direction: Any, **region: Any) -> Any:
    return smallest_step(net, x, y, direction, **plain(region))


def radius(net: Any, x: Any, y: Any, **region: Any) -> Any:
    return robust_radius(net, x, y, **plain(region)).upper


def plain(region: Case) -> Case:
    """Norm as a number."""
    return {it: region[it].item() if it == "norm" else region[it] for it in region}


SEARCHES: dict[str, tuple[str, Callable[..., Any]]] = {
    "smallest-step": ("t", step),
    "smallest-step-linf-box": ("t", step),
    "radius-sign": ("radius", radius),
    "radius-argmax": (
        "radius",
        lambda net, x, y: robust_radius(net, x, y, decision="argmax").upper,
    ),
    "radius-group-max": (
        "radius",
        lambda net, x, y, labels: robust_radius(net, x, y, decision=GroupMax(labels)).upper,
    ),
    "radius-group-sum": (
        "radius",
        lambda net, x, y, labels: robust_radius(net, x, y, decision=GroupSum(labels)).upper,
    ),
    "radius-l1": ("radius", radius),
    "radius-linf": ("radius", radius),
    "radius-box": ("radius", radius),
    "radius-linf-box": ("radius", radius),
}


def test_every_file_is_evaluated_in_float32() -> None:
    assert METHOD.keys() | FORMULAS.keys() | SEARCHES.keys() == ENTRIES.keys()


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_on_rounded_networks_are_within_the_float32_tolerance(name: str) -> None:
    """Computing F in float32 is computing it exactly for a network that is off by 2^-24."""
    output, search = SEARCHES[name]
    rng, worst = np.random.default_rng(0), 0.0
    for inputs, outputs in frozen_cases(name):
        expected = np.minimum(outputs[output], FAR)
        parts = [
            inputs[key] * (1 + rng.choice([-1, 1], inputs[key].shape) / 2**24) for key in "WbAc"
        ]
        rest = {key: value for key, value in inputs.items() if key not in "WbAc"}
        got = np.minimum(search(TwoLayerReLU(*parts), **rest), FAR)
        off = np.abs(got - expected)[expected > 0]  # a tie at x itself is no longer one
        assert off.max(initial=0) <= ENTRIES[name]["tolerance_float32"][output]
        worst = max(worst, off.max(initial=0))
    assert worst > ENTRIES[name]["tolerance"][output]


# Writing and reading.


@pytest.mark.slow
def test_vectors_are_written_and_read_back(tmp_path: Path) -> None:
    assert check_vectors(write_vectors(tmp_path / "new", count=1)) == []


def test_writing_twice_gives_the_same_bytes(folder: Path) -> None:
    one, two = (write_vectors(folder / name, count=2) for name in ("one", "two"))
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_no_cases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count: expected an integer of at least 1, got 0"):
        write_vectors(tmp_path, count=0)


def test_undecided_cases_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample whose margin is below the rounding of float32 is left out."""
    drawn = []

    def inputs(rng: np.random.Generator) -> Case:
        f = 2.0 ** (-20 if not drawn else 0)  # F = ReLU(x) - 2^10
        drawn.append(f)
        net = {"W": np.eye(1), "b": np.zeros(1), "A": np.eye(1), "c": np.array([-1024.0])}
        return net | {"x": np.array([[1024 + f]]), "y": np.array([1])}

    vector = vectors.VECTORS["radius-sign"]._replace(inputs=inputs)
    monkeypatch.setattr(vectors, "VECTORS", {"radius-sign": vector})
    with np.load(write_vectors(tmp_path, count=1) / "radius-sign.npz") as arrays:
        assert arrays["0.x"].tolist() == [[1025.0]]
    assert drawn == [2.0**-20, 1.0]


# Differences.


def replace_outputs(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[..., Any]) -> None:
    old = vectors.VECTORS[name]
    wrong = old._replace(outputs=lambda **case: change(old.outputs(**case)))
    monkeypatch.setattr(vectors, "VECTORS", vectors.VECTORS | {name: wrong})


def test_a_changed_equation_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(outputs: Case) -> Case:
        outputs["F"][1, 0] += 1
        return outputs

    replace_outputs(monkeypatch, "outputs", wrong)
    differences = check_vectors(folder)
    assert len(differences) == 6
    was = float(frozen_cases("outputs")[0][1]["F"][1, 0])
    assert differences[0].startswith(f"outputs.npz case 0: F[1, 0] is {was + 1}, was {was}, up to")
    assert differences[0].endswith("(E4)")


@pytest.mark.parametrize("far", [1e9, np.nan])
def test_infinite_steps_are_equal_to_themselves_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, far: float
) -> None:
    change = lambda it: {"t": np.where(np.isinf(it["t"]), far, it["t"])}  # noqa: E731 - one line
    replace_outputs(monkeypatch, "smallest-step", change)
    assert any(f"is {far}, was inf" in line for line in check_vectors(folder))


def test_another_shape_is_a_difference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_outputs(monkeypatch, "outputs", lambda it: {"F": it["F"].T})
    assert "F has shape (2, 5), was (5, 2) (E4)" in check_vectors(folder)[0]


@pytest.mark.parametrize("field", ["tolerance", "tolerance_float32"])
@pytest.mark.parametrize(
    "value", [np.nan, *(pytest.param(v, marks=pytest.mark.slow) for v in (1e9, 0.0))]
)
def test_changed_tolerances_are_named(folder: Path, field: str, value: float) -> None:
    edit(folder, lambda manifest: manifest["files"][0][field].update(F=value))
    lines = [line for line in check_vectors(folder) if "case" not in line]
    ours = ENTRIES["outputs"][field]["F"]
    assert lines == [f"outputs.npz: {field} of F is {ours:.3g}, was {value:.3g}"]


def test_changed_equations_are_named(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["files"][0].update(equations={"E5": ""}))
    assert check_vectors(folder) == ["outputs.npz: equations are ['E4'], were ['E5']"]


# Damage.


def test_a_file_that_changed_is_refused(folder: Path) -> None:
    with (folder / "outputs.npz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=r"outputs\.npz: expected SHA-256"):
        check_vectors(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "outputs.npz").unlink()
    with pytest.raises(ValueError, match=r"outputs\.npz: expected a file, got none"):
        check_vectors(folder)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected manifest\.json, got none"):
        check_vectors(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_no_json_is_refused(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(ValueError, match=r"manifest\.json: expected JSON, got"):
        check_vectors(folder)


@pytest.mark.parametrize("value", [[], None, 5, "text"])
def test_a_manifest_that_is_no_object_is_refused(folder: Path, value: Any) -> None:
    (folder / MANIFEST).write_text(json.dumps(value))
    with pytest.raises(ValueError, match="expected the manifest to be an object, got"):
        check_vectors(folder)


@pytest.mark.parametrize("key", ["schema", "version", "files"])
def test_a_manifest_that_lacks_a_field_is_refused(folder: Path, key: str) -> None:
    edit(folder, lambda manifest: manifest.pop(key))
    with pytest.raises(ValueError, match=f"expected the manifest to have '{key}', got none"):
        check_vectors(folder)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [("schema", "2", "an integer"), ("version", True, "an integer"), ("files", 5, "a list")],
)
def test_a_field_of_another_type_is_refused(folder: Path, key: str, value: Any, kind: str) -> None:
    edit(folder, lambda manifest: manifest.update({key: value}))
    message = f"expected '{key}' of the manifest to be {kind}, got {value!r}"
    with pytest.raises(ValueError, match=message):
        check_vectors(folder)


@pytest.mark.parametrize("key", ["schema", "version"])
def test_a_newer_schema_and_another_version_are_refused(folder: Path, key: str) -> None:
    here = LISTED[key]
    edit(folder, lambda manifest: manifest.update({key: here + 1}))
    with pytest.raises(ValueError, match=f"expected {key} {here}, got {here + 1}"):
        check_vectors(folder)


def test_a_newer_schema_is_refused_whatever_else_it_holds(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"schema": 3}')
    with pytest.raises(ValueError, match="expected schema 2, got 3"):
        check_vectors(folder)


@pytest.mark.parametrize("entry", [5, "text", None, []])
def test_an_entry_that_is_no_object_is_refused(folder: Path, entry: Any) -> None:
    edit(folder, lambda manifest: manifest["files"].insert(0, entry))
    with pytest.raises(ValueError, match=r"expected files\[0\] to be an object, got"):
        check_vectors(folder)


@pytest.mark.parametrize("key", LISTED["files"][0])
def test_an_entry_that_lacks_a_field_is_refused(folder: Path, key: str) -> None:
    edit(folder, lambda manifest: manifest["files"][0].pop(key))
    with pytest.raises(ValueError, match=rf"expected files\[0\] to have '{key}', got none"):
        check_vectors(folder)


@pytest.mark.parametrize("key", LISTED["files"][0])
def test_an_entry_with_a_field_of_another_type_is_refused(folder: Path, key: str) -> None:
    edit(folder, lambda manifest: manifest["files"][0].update({key: None}))
    with pytest.raises(
        ValueError, match=rf"expected '{key}' of files\[0\] to be an? \w+, got None"
    ):
        check_vectors(folder)


def test_a_folder_that_lacks_equations_is_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["files"].pop())
    with pytest.raises(ValueError, match=r"expected entries for \['smallest-step\.npz'\]"):
        check_vectors(folder)


@pytest.mark.parametrize("name", ["other.npz", "../outputs.npz", ""])
def test_unknown_files_are_refused(folder: Path, name: str) -> None:
    other = LISTED["files"][0] | {"file": name}
    edit(folder, lambda manifest: manifest["files"].append(other))
    message = re.escape(f"expected files of this version, got ['{name}']")
    with pytest.raises(ValueError, match=message):
        check_vectors(folder)


def test_a_file_that_is_listed_twice_is_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["files"].append(LISTED["files"][0]))
    with pytest.raises(ValueError, match="expected 3 entries, got 4"):
        check_vectors(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 7}, "expected 7 cases of 6 arrays, got 36 arrays"),
        ({"count": 10**15}, "cases of 6 arrays, got 36 arrays"),
        ({"count": 0}, "count: expected an integer of at least 1, got 0"),
        ({"inputs": ["W", "b", "A", "c", "z"]}, r"expected the arrays that manifest\.json names"),
        ({"inputs": ["W", "b", "A", "c", "F"], "outputs": ["x"]}, r"expected inputs \['W', 'b'"),
        ({"inputs": ["W", "b", "A", "c", 5]}, r"expected the arrays that manifest\.json names"),
        ({"tolerance": {}}, r"expected 'tolerance' of outputs\.npz to have 'F', got none"),
        ({"tolerance_float32": {"F": "1"}}, r"expected 'F' of 'tolerance_float32' .* a number"),
    ],
)
def test_an_entry_that_does_not_fit_its_file_is_refused(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    edit(folder, lambda manifest: manifest["files"][0].update(change))
    with pytest.raises(ValueError, match=message):
        check_vectors(folder)


def test_outputs_in_another_order_are_refused(folder: Path) -> None:
    index = FEW.index("binary-gradients")
    edit(folder, lambda manifest: manifest["files"][index]["outputs"].reverse())
    with pytest.raises(ValueError, match=r"expected outputs \['dW', 'db'\] of binary-gradients"):
        check_vectors(folder)
