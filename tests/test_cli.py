"""The command line, mostly as a process: outputs, exit statuses, one-line errors, Ctrl-C."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from refimpl import GroupMax, TwoLayerReLU, cli, load_certificates, save_certificates
from refimpl.certificate import Certificate
from refimpl.cli import data as cli_data
from refimpl.cli import options
from refimpl.datasets.errors import DatasetFormatError, UnofficialDataError
from refimpl.radius import robust_radius

SMALL = ["--k", "4", "--d", "40", "--n", "60", "--m", "2", "--steps", "60", "--step", "0.01",
         "--test", "12", "--pgd-steps", "3"]  # fmt: skip


FILES = ("radius.json", "histogram.png", "curve.png")
FLOATS = "floats with derived error bounds, rational where these cannot decide"
ADVICE = "refimpl data fetch NAME DIR downloads what is not there, or not whole, to an empty folder"
PACKAGE = str(Path(cli.__file__).parents[2])  # where the package lies, installed or not
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": PACKAGE}


def run(command, cwd):
    """Run a command in a process of its own and return it."""
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def refimpl(*words, cwd):
    """Run ``python -m refimpl`` and return the finished process."""
    return run([sys.executable, "-m", "refimpl", *map(str, words)], cwd)


def call(capsys, *words):
    """Run the same in this process: exit status, standard output, lines of standard error."""
    status = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()


def save_inputs(folder):
    """Save a network and 20 samples, one of them misclassified."""
    rng = np.random.default_rng(1)
    net = TwoLayerReLU(rng.standard_normal((6, 3)), rng.standard_normal(6), [[1, 1, 1, -1, -1, -1]])
    x = rng.standard_normal((20, 3))
    y = net.predict(x, "sign")
    y[4] *= -1
    net.save(folder / "net.npz")
    np.savez(folder / "data.npz", x=x, y=y)
    return net, x, y


@pytest.fixture
def files(tmp_path):
    """The folder, and what is saved there."""
    return tmp_path, *save_inputs(tmp_path)


def test_help_lists_every_command_and_version_is_the_packages(capsys):
    status, out, _ = call(capsys, "--help")
    assert status == 0
    assert all(f"\n    {name}" in out for name in cli.COMMANDS)
    status, out, _ = call(capsys, "--version")
    assert status == 0
    assert out.startswith("refimpl ")


@pytest.mark.parametrize(
    "words",
    [
        *(["radius"], ["verify"], ["check"], ["prove"], ["data"], ["data", "verify"]),
        *(["data", "fetch"], ["vectors"], ["vectors", "write"], ["vectors", "check"]),
    ],
    ids=" ".join,
)
def test_help_has_an_example_and_fits_a_terminal(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = call(capsys, *words, "--help")
    assert status == 0
    assert f"\n  refimpl {' '.join(words)}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_command_line_imports_nothing_heavy_until_it_runs(tmp_path):
    code = (
        "import sys, refimpl.cli; refimpl.cli._parser();"
        "print([m for m in ('scipy.optimize', 'scipy.stats', 'matplotlib', 'hypothesis',"
        " 'refimpl.experiments') if m in sys.modules])"
    )
    process = run([sys.executable, "-c", code], tmp_path)
    assert process.stdout.strip() == "[]", process.stderr


def test_radius_writes_what_robust_radius_returns(files, capsys):
    folder, net, x, y = files
    status, out, _ = call(
        capsys, "radius", folder / "net.npz", folder / "data.npz", "--out", folder / "out"
    )
    assert status == 0
    assert out.startswith("20 of 20 samples: 20 exact\n")
    written = json.loads((folder / "out" / "radius.json").read_text())
    expected = robust_radius(net, x, y)
    assert [entry["upper"] for entry in written["samples"]] == expected.upper.tolist()
    assert [entry["lower"] for entry in written["samples"]] == expected.lower.tolist()
    assert [entry["index"] for entry in written["samples"]] == list(range(20))
    assert written["samples"][4]["upper"] == 0.0
    assert written["statuses"] == {"exact": 20}
    assert written["robust_accuracy"]["upper"][0] == 19 / 20
    assert written["robust_accuracy"]["upper"][-1] == 0.0
    assert written["misclassified"] == [4]
    assert "\nepsilon  robust accuracy: lower bound  upper bound\n" in out
    assert out.splitlines()[-4:] == [
        "misclassified (radius 0): 1 of 20 samples (4)",
        *(f"written to {folder / 'out' / name}" for name in FILES),
    ]
    assert {path.name for path in (folder / "out").iterdir()} == {*FILES}


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(("name", "norm"), [("1", 1), ("2", 2), ("inf", math.inf)])
def test_radius_in_a_norm_and_a_box(files, capsys, name, norm):
    folder, net, x, y = files
    lo, hi = float(x.min()) - 0.5, float(x.max()) + 0.5
    assert lo < 0
    words = ["--norm", name, "--box", f"{lo},{hi}", "--json", folder / "r.json"]
    inputs = [folder / "net.npz", folder / "data.npz", "--out", folder / "out"]
    status, out, _ = call(capsys, "radius", *inputs, *words)
    assert status == 0
    assert f"robust radius, l{name} in [{lo:g}, {hi:g}]" in out
    written = json.loads((folder / "r.json").read_text())
    assert (written["norm"], written["box"]) == (name if name == "inf" else norm, [lo, hi])
    expected = robust_radius(net, x, y, norm=norm, box=(lo, hi))
    assert [entry["upper"] for entry in written["samples"]] == expected.upper.tolist()
    assert written["upper"]["median"] == np.median(expected.upper)  # of an even number


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--norm", "3"], "argument --norm: expected 1, 2 or inf, got '3'"),
        (["--box", "1,0"], "argument --box: expected LO,HI with LO <= HI, got '1,0'"),
        (["--box", "0"], "argument --box: expected LO,HI with LO <= HI, got '0'"),
        (["--box", "a,b"], "argument --box: expected a list as 0,1, got 'a,b'"),
        (["--box", "100,200"], "data.npz: x: expected samples in the box"),
    ],
)
def test_radius_refuses_norms_and_boxes(files, capsys, words, message):
    folder, *_ = files
    status, _, err = call(capsys, "radius", folder / "net.npz", folder / "data.npz", *words)
    assert status == 2
    assert message in "\n".join(err)


@pytest.mark.slow
def test_radius_with_processes_and_a_file_of_its_own_gives_the_same(files, capsys, monkeypatch):
    folder, *_ = files
    monkeypatch.chdir(folder)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # the command sets them for its processes; restored here
    words = ["radius", "net.npz", "data.npz", "--max-nodes", "7", "--tol", "0"]  # leaves work
    assert call(capsys, *words)[0] == 0
    assert call(capsys, *words, "--jobs", 2, "--json", "two.json")[0] == 0
    one = json.loads((folder / "refimpl-radius" / "radius.json").read_text())
    assert one == json.loads((folder / "two.json").read_text())


@pytest.mark.slow
def test_radius_of_a_grouped_decision_that_starts_with_minus_one(files, capsys):
    folder, _, x, _ = files
    rng = np.random.default_rng(2)
    net = TwoLayerReLU(rng.standard_normal((5, 3)), None, rng.standard_normal((3, 5)))
    decision = GroupMax([-1, 1, 1])
    y = net.predict(x, decision)
    net.save(folder / "net.npz")
    np.savez(folder / "data.npz", x=x, y=np.where(y == 0, 1, y), unrelated=0)
    words = ["--decision", "group_max", "--labels", "-1,1,1", "--ties", "robust"]
    status, _, _ = call(
        capsys, "radius", folder / "net.npz", folder / "data.npz", *words, "--out", folder / "out"
    )
    assert status == 0
    written = json.loads((folder / "out" / "radius.json").read_text())
    assert (written["decision"], written["labels"]) == ("group_max", [-1, 1, 1])
    expected = robust_radius(net, x, np.where(y == 0, 1, y), decision=decision, ties="robust")
    uppers = [np.inf if e["upper"] is None else e["upper"] for e in written["samples"]]
    assert uppers == expected.upper.tolist()
    inputs = (folder / "net.npz", folder / "data.npz", folder / "proofs")
    words += ["--out", folder / "out"]
    assert call(capsys, "radius", *inputs[:2], *words, "--certificates", inputs[2])[0] == 0
    status, out, _ = call(capsys, "verify", *inputs)
    assert status == 0
    assert " certificates proved (decision GroupMax([-1, 1, 1]), ties robust; " in out


@pytest.mark.parametrize("name", FILES)
def test_radius_refuses_folders_in_place_of_its_files_before_the_work(
    files, capsys, monkeypatch, name
):
    folder, *_ = files
    monkeypatch.setattr("refimpl.radius.robust_radius", None)
    (folder / "out" / name).mkdir(parents=True)
    words = ["radius", folder / "net.npz", folder / "data.npz", "--out", folder / "out"]
    status, out, err = call(capsys, *words)
    assert (status, out) == (2, "")
    assert f"{name}: expected a regular file, got a directory" in err[0]


def test_radius_says_what_is_bounded_and_draws_both_curves(files, capsys):
    folder, *_ = files
    limits = ["--max-nodes", 1, "--tol", 0]
    words = ["radius", folder / "net.npz", folder / "data.npz", *limits, "--out", folder / "out"]
    status, out, _ = call(capsys, *words)
    assert status == 0
    assert " bounded" in out.splitlines()[0]
    assert (folder / "out" / "curve.png").exists()


@pytest.mark.slow
def test_json_on_standard_output_stands_there_alone(files, monkeypatch):
    folder, *_ = files
    words = ["--certificates", "c", "--json", "-"]
    process = refimpl("radius", "net.npz", "data.npz", *words, cwd=folder)
    assert process.returncode == 0
    assert json.loads(process.stdout)["misclassified"] == [4]
    assert process.stderr.startswith("20 of 20 samples: 20 exact\n")
    assert process.stderr.endswith(
        "\nwritten to c\nwritten to refimpl-radius/histogram.png\n"
        "written to refimpl-radius/curve.png\n"
    )
    process = refimpl("check", "--claim", "PGD-projection", "--json", "-", cwd=folder)
    assert process.returncode == 0
    assert json.loads(process.stdout)["adapter"] == "refimpl"
    assert not (folder / "-").exists()


def test_samples_that_are_named_are_few():
    assert options.named("a", [], 20) == "a: 0 of 20 samples"
    many = options.named("a", range(11), 20)
    assert many == "a: 11 of 20 samples (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)"


def test_radius_without_matplotlib_writes_the_rest(files, capsys, monkeypatch):
    folder, *_ = files
    monkeypatch.setattr("refimpl.experiments.figures.find_spec", lambda name: None)
    words = ["radius", folder / "net.npz", folder / "data.npz", "--out", folder / "out"]
    status, out, err = call(capsys, *words)
    assert (status, len(err)) == (0, 1)
    assert out.splitlines()[-1] == f"written to {folder / 'out' / 'radius.json'}"
    assert [path.name for path in (folder / "out").iterdir()] == ["radius.json"]


@pytest.mark.usefixtures("without_figures")
def test_certificates_of_radius_pass_verify_and_broken_ones_fail(files, capsys):
    folder, net, x, y = files
    inputs = [folder / "net.npz", folder / "data.npz"]
    saved = folder / "certificates"
    status, *_ = call(capsys, "radius", *inputs, "--out", folder / "o", "--certificates", saved)
    assert status == 0
    radii = np.delete(load_certificates(saved).radius, 4)
    for words, arithmetic in (([], FLOATS), (["--exact"], "rational arithmetic throughout")):
        status, out, _ = call(capsys, "verify", *inputs, saved, *words)
        assert status == 0
        assert out.splitlines() == [
            f"19 of 19 certificates proved (decision sign, ties adversarial; {arithmetic})",
            f"radii proved: {radii.min():.6g} to {radii.max():.6g}",
            "no certificate, since misclassified (radius 0, nothing to prove): 1 of 20 samples (4)",
        ]
    file = load_certificates(saved)
    claimed = np.where(np.arange(20) == 7, 2 * file.radius, file.radius)  # more than is true
    save_certificates(saved, file.certificates, radius=claimed, net=net, x=x, y=y)
    status, out, _ = call(capsys, "verify", *inputs, saved)
    assert status == 1
    assert out.startswith("sample 7: radius ")
    assert "18 of 19 certificates proved" in out


def test_verify_where_every_sample_has_a_certificate(files, capsys):
    folder, net, x, y = files
    np.savez(folder / "two.npz", x=x[:2], y=y[:2])
    result = robust_radius(net, x[:2], y[:2], certificates=True)
    saved = folder / "certificates"
    save_certificates(saved, result.certificates, radius=result.lower, net=net, x=x[:2], y=y[:2])
    status, out, _ = call(capsys, "verify", folder / "net.npz", folder / "two.npz", saved)
    assert (status, out) == (
        0,
        f"2 of 2 certificates proved (decision sign, ties adversarial; {FLOATS})\n"
        f"radii proved: {result.lower.min():.6g} to {result.lower.max():.6g}\n",
    )


def test_verify_takes_norm_and_box_from_the_file(tmp_path, capsys):
    # f = x1 + x2 is 2 at (1, 1): with 0.75 <= x1, 7/4 in l_inf, and sqrt(50)/4 in l2.
    net = TwoLayerReLU([[1.0, 1.0], [-1.0, -1.0]], None, [[1.0, -1.0]])
    net.save(tmp_path / "net.npz")
    x, y = np.ones((1, 2)), np.array([1])
    np.savez(tmp_path / "data.npz", x=x, y=y)
    rows = np.ones((1, 2))
    leaf = Certificate(np.array([-1]), rows[:, :1], rows, 0 * rows)
    box = [0.75, -np.inf], np.inf
    inputs = tmp_path / "net.npz", tmp_path / "data.npz", tmp_path / "proofs.npz"
    for norm, limits, radius, where in (
        (np.inf, box, 1.7, ", linf in a box"),
        (2, box, 1.7, ", l2 in a box"),
        (1, (0, 1), 1.9, ", l1 in [0, 1]"),
        (1, (0, 1.0000001), 1.9, ", l1 in [0, 1.0000001]"),
        (1, None, 1.9, ", l1"),
        (np.inf, None, 0.9, ", linf"),
    ):
        options = {"norm": norm, "box": limits, "net": net, "x": x, "y": y}
        save_certificates(inputs[2], [leaf], radius=[radius], **options)
        status, out, _ = call(capsys, "verify", *inputs)
        assert (status, out) == (
            0,
            f"1 of 1 certificates proved (decision sign, ties adversarial{where}; {FLOATS})\n"
            f"radii proved: {radius} to {radius}\n",
        )
    save_certificates(inputs[2], [leaf], radius=[1.8], **options | {"box": box})
    status, out, _ = call(capsys, "verify", *inputs)
    assert status == 1
    assert "not proved for radius 1.8 in linf within the box" in out


def test_verify_refuses_certificates_of_other_inputs_by_the_name_of_the_file(files, capsys):
    folder, net, x, y = files
    saved = folder / "certificates"
    result = robust_radius(net, x, y, certificates=True)
    save_certificates(saved, result.certificates, radius=result.lower, net=net, x=x, y=y)
    TwoLayerReLU(net.W, net.b, 2 * net.A).save(folder / "weights.npz")
    TwoLayerReLU(net.W[:, :2], None, np.ones((3, 6))).save(folder / "shape.npz")
    np.savez(folder / "nan.npz", x=x, y=np.where(y == 1, np.nan, y))
    np.savez(folder / "few.npz", x=x[:5], y=y[:5])
    np.savez(folder / "other.npz", x=x + 1, y=y)
    another = "expected the network that the certificates are about, got another one"
    for network, data, message in (
        ("weights.npz", "data.npz", another),
        ("shape.npz", "data.npz", another),
        ("net.npz", "nan.npz", "y: expected finite numbers, got nan at"),
        ("net.npz", "few.npz", "x: expected the 20 samples of the file, got 5"),
        ("net.npz", "other.npz", "x[0], y[0]: expected the sample that certificate is about"),
    ):
        status, out, err = call(capsys, "verify", folder / network, folder / data, saved)
        assert (status, out, len(err)) == (2, "", 1)
        wrong = folder / (data if network == "net.npz" else network)
        assert err[0].startswith(f"refimpl: error: {wrong}: {message}")


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A folder of inputs, most of them bad."""
    folder = tmp_path_factory.mktemp("bad")
    net, x, y = save_inputs(folder)
    (folder / "empty.npz").write_bytes(b"")
    np.savez(folder / "wide.npz", x=np.ones((2, 9)), y=[1, 1])
    np.savez(folder / "none.npz", x=x[:0], y=y[:0])
    np.savez(folder / "zero.npz", x=x, y=0 * y)
    np.savez(folder / "nan.npz", x=x, y=np.nan * y)
    np.savez(folder / "one.npz", x=x, y=y[:1])
    np.savez(folder / "str.npz", x=x.astype(str), y=y)
    np.savez(folder / "turned.npz", W=net.W.T, b=net.b, A=net.A)
    (folder / "text.txt").write_text("no network")
    (folder / "link.npz").symlink_to("data.npz")
    (folder / "partial").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / f"partial/{name}.bin").write_bytes(bytes(3073))  # one image
    return folder


BAD = {
    "no command": ([], "the following arguments are required: COMMAND"),
    "unknown command": (["frobnicate"], "invalid choice: 'frobnicate'"),
    "unknown experiment": (["reproduce", "imagenet"], "invalid choice: 'imagenet'"),
    "abbreviation": (["reproduce", "synthetic", "--see", "1"], "unrecognized arguments: --see 1"),
    "option of a subcommand": (
        ["data", "verify", "--jbos", "2"],
        "refimpl data verify: error: unrecognized arguments: --jbos (try refimpl data verify --",
    ),
    "option of none": (["--jbos", "prove"], "refimpl: error: unrecognized arguments: --jbos"),
    "text for a number": (["reproduce", "synthetic", "--d", "x"], "--d: invalid int value: 'x'"),
    "d below k": (["reproduce", "synthetic", "--d", "3"], "d: expected an integer of at least 10"),
    "no clusters": (["reproduce", "synthetic", "--k", "1"], "k: expected an integer of at least 2"),
    "no samples": (["reproduce", "synthetic", "--n", "0"], "n: expected an integer of at least 1"),
    "negative step": (["reproduce", "synthetic", "--step", "-1"], "rate: expected a positive"),
    "step nan": (["reproduce", "synthetic", "--step", "nan"], "rate: expected finite numbers"),
    "negative seed": (["reproduce", "synthetic", "--seed", "-1"], "seed: expected an integer"),
    "all positive": (["reproduce", "synthetic", "--positive", "10"], "--positive: expected a num"),
    "one class": (["reproduce", "synthetic", "--k", "2", "--labels", "1,1"], "classes in both"),
    "few labels": (["reproduce", "synthetic", "--labels", "1,-1"], "--labels: expected 10 labels"),
    "text labels": (["reproduce", "synthetic", "--labels", "a,b"], "expected a list as 1,1,-1"),
    "both": (
        ["reproduce", "synthetic", "--labels", "1,-1", "--positive", "1"],
        "--labels: expected either this or --positive, got both",
    ),
    "diverges": (
        ["reproduce", "synthetic", *SMALL, "--step", "1e308"],
        "training left the range of float64",
    ),
    "out is a file": (
        ["reproduce", "synthetic", "--out", "data.npz"],
        "data.npz: expected a directory, but data.npz is a file",
    ),
    "out is below a file": (
        ["radius", "net.npz", "data.npz", "--out", "data.npz/a/b"],
        "data.npz/a/b: expected a directory, but data.npz is a file",
    ),
    "no data": (
        ["reproduce", "mnist", "--data", "none"],
        "error: none: expected the files of MNIST, got none of them, since the folder does not "
        "exist; refimpl data fetch mnist DIR downloads them",
    ),
    "not the published data": (
        ["reproduce", "cifar10", "--data", "partial"],
        "the 10000 images of data_batch_1, got 1; --no-verify takes well-formed data that are",
    ),
    "no folder": (["reproduce", "mnist"], "--data: expected a path, or $REFIMPL_DATA set"),
    "no epochs": (["reproduce", "mnist", "--epochs", "0"], "epochs: expected an integer"),
    "no step": (["reproduce", "mnist", "--two-step", "0"], "--two-step: expected a positive"),
    "no training": (["reproduce", "mnist", "--train", "0"], "train: expected an integer"),
    "no seeds": (["reproduce", "cifar10", "--seeds", "0"], "seeds: expected an integer"),
    "no jobs": (["reproduce", "cifar10", "--jobs", "0"], "--jobs: expected an integer"),
    "no CIFAR-10": (
        ["reproduce", "cifar10", "--data", "."],
        "error: .: expected the files of CIFAR-10, got none of them; refimpl data fetch cifar10 D",
    ),
    "no features": (["reproduce", "features"], "arguments are required: FILE.npz"),
    "features of a network": (["reproduce", "features", "net.npz"], "expected arrays x, y and may"),
    "groups for digits": (["reproduce", "mnist", "--groups", "1,-1"], "unrecognized arguments"),
    "missing network": (
        ["radius", "missing.npz", "data.npz"],
        "error: missing.npz: No such file or directory",
    ),
    "network is a folder": (["radius", ".", "data.npz"], "error: .: Is a directory"),
    "network below a file": (
        ["radius", "net.npz/a", "data.npz"],
        "error: net.npz/a: Not a directory",
    ),
    "network is text": (["radius", "text.txt", "data.npz"], "text.txt: expected an .npz file of"),
    "transposed W": (
        ["radius", "turned.npz", "data.npz"],
        "turned.npz: W and A: expected shapes (M, d) and (K, M), got (3, 6) and (1, 6)",
    ),
    "network is data": (["radius", "data.npz", "data.npz"], "arrays W, A and optionally b, c"),
    "data is a network": (["radius", "net.npz", "net.npz"], "net.npz: expected arrays x and y"),
    "empty": (["radius", "net.npz", "empty.npz"], "empty.npz: expected an .npz file of arrays"),
    "dimensions": (["radius", "net.npz", "wide.npz"], "wide.npz: x: expected real numbers of"),
    "no samples at all": (
        ["radius", "net.npz", "none.npz"],
        "none.npz: x: expected real numbers of shape (n, 3), n at least 1, got shape (0, 3)",
    ),
    "labels 0": (["radius", "net.npz", "zero.npz"], "zero.npz: y: expected labels in {-1, +1}, g"),
    "labels nan": (
        ["radius", "net.npz", "nan.npz"],
        "nan.npz: y: expected finite numbers, got nan",
    ),
    "one label": (
        ["radius", "net.npz", "one.npz"],
        "one.npz: y: expected real numbers of shape (20,), got shape (1,)",
    ),
    "samples are text": (["radius", "net.npz", "str.npz"], "str.npz: x: expected an array of real"),
    "decision": (["radius", "net.npz", "data.npz", "--decision", "max"], "invalid choice: 'max'"),
    "argmax of one": (
        ["radius", "net.npz", "data.npz", "--decision", "argmax"],
        "--decision: expected one that fits, sign, got argmax for K = 1 outputs",
    ),
    "groups without labels": (
        ["radius", "net.npz", "data.npz", "--decision", "group_max"],
        "--labels: expected a list for group_max and group_sum",
    ),
    "labels without groups": (
        ["radius", "net.npz", "data.npz", "--labels", "1,-1"],
        "--labels: expected a list for group_max and group_sum, and for no other",
    ),
    "too many labels": (
        ["radius", "net.npz", "data.npz", "--decision", "group_sum", "--labels", "1,-1"],
        "decision: expected one label for each of 1 outputs",
    ),
    "ties": (["radius", "net.npz", "data.npz", "--ties", "no"], "--ties: invalid choice: 'no'"),
    "tol": (["radius", "net.npz", "data.npz", "--tol", "-1"], "--tol: expected a number of at"),
    "nodes": (
        ["radius", "net.npz", "data.npz", "--max-nodes", "0"],
        "--max-nodes: expected an int",
    ),
    "time": (
        ["radius", "net.npz", "data.npz", "--time-limit", "0"],
        "--time-limit: expected a pos",
    ),
    "jobs": (["radius", "net.npz", "data.npz", "--jobs", "0"], "--jobs: expected an integer"),
    "json in no folder": (
        ["radius", "net.npz", "data.npz", "--json", "none/a.json"],
        "none/a.json: expected a file in a writable directory",
    ),
    "json is a folder": (
        ["radius", "net.npz", "data.npz", "--json", "."],
        ".: expected a regular file, got a directory",
    ),
    "json without a name": (
        ["radius", "net.npz", "data.npz", "--json", ""],
        "argument --json: expected a file, got an empty name",
    ),
    "certificates without a name": (
        ["radius", "net.npz", "data.npz", "--certificates", ""],
        "argument --certificates: expected a file, got an empty name",
    ),
    "certificates in no folder": (
        ["radius", "net.npz", "data.npz", "--certificates", "none/c"],
        "none/c: expected a file in a writable directory",
    ),
    "certificates over the network": (
        ["radius", "net.npz", "data.npz", "--certificates", "./net.npz"],
        "error: --certificates: expected a file that is not an input, got net.npz",
    ),
    "json over the data": (
        ["radius", "net.npz", "data.npz", "--json", "link.npz"],
        "error: --json: expected a file that is not an input, got link.npz",
    ),
    "json over the certificates": (
        ["radius", "net.npz", "data.npz", "--certificates", "c", "--json", "c"],
        "error: --json: expected another file than --certificates, got c",
    ),
    "results over the certificates": (
        ["radius", "net.npz", "data.npz", "--certificates", "radius.json", "--out", "."],
        "error: --out: expected another file than --certificates, got radius.json",
    ),
    "certificates on standard output": (
        ["radius", "net.npz", "data.npz", "--certificates", "-"],
        "--certificates: expected a file, got -",
    ),
    "no certificates": (["verify", "net.npz", "data.npz", "none"], "No such file"),
    "other certificates": (["verify", "net.npz", "data.npz", "data.npz"], "data.npz: "),
    "no action": (["data"], "the following arguments are required: ACTION"),
    "no such data": (["data", "verify", "none"], "none"),
    "no folder named": (["data", "verify"], "error: DIR: expected a path, or $REFIMPL_DATA set"),
    "data is a file": (["data", "verify", "data.npz"], "data.npz: expected a readable folder"),
    "other data set": (["data", "fetch", "svhn", "."], "invalid choice: 'svhn'"),
    "into a file": (
        ["data", "fetch", "mnist", "data.npz"],
        "data.npz/mnist: expected a directory, but data.npz is a file",
    ),
    "no such claim": (["prove", "nothing"], "CLAIM: expected one of data, decomposition,"),
    "prove into a file": (["prove", "data", "--out", "data.npz"], "data.npz: expected a directory"),
    "prove json is a folder": (["prove", "data", "--json", "."], ".: expected a regular file"),
    "check json in no folder": (
        ["check", "--json", "none/a.json"],
        "none/a.json: expected a file in a writable directory",
    ),
    "power of an adapter": (["check", "a:B", "--power"], "--power: expected only --seed"),
    "no examples": (["check", "--examples", "0"], "--examples: expected an integer of at least 1"),
    "vectors of nothing": (
        ["vectors", "check", "none"],
        "none: expected manifest.json, got none; refimpl vectors write DIR writes them anew",
    ),
    "vectors into a file": (["vectors", "write", "data.npz"], "data.npz: expected a directory"),
    "vectors do": (["vectors", "do", "x"], "invalid choice: 'do'"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_ends_with_status_2_and_one_line(bad, capsys, monkeypatch, words, message):
    monkeypatch.chdir(bad)
    monkeypatch.delenv("REFIMPL_DATA", raising=False)
    before = sorted(bad.rglob("*"))
    status, out, err = call(capsys, *words)
    assert status == 2
    assert out == ""
    assert len(err) == 1
    assert err[0].startswith("refimpl")
    assert ": error: " in err[0]
    assert message in err[0]
    if words[:1] != ["reproduce"]:  # which makes its folder first
        assert sorted(bad.rglob("*")) == before


def test_bad_usage_of_the_process_is_one_line_too(tmp_path):
    process = refimpl("radius", "only-one.npz", cwd=tmp_path)
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr == (
        "refimpl radius: error: the following arguments are required: DATA.npz "
        "(try refimpl radius --help)\n"
    )


@pytest.mark.parametrize("error", [ImportError("fetch needs pooch"), MemoryError()])
def test_other_failures_are_one_line_with_status_2(monkeypatch, capsys, error):
    def fail(directory):
        raise error

    monkeypatch.setattr("refimpl.datasets.locate.data_directory", fail)
    status, _, err = call(capsys, "data", "verify", ".")
    assert status == 2
    assert err == [f"refimpl: error: {str(error) or 'MemoryError'}"]


def status_unread(words, cwd, python="env -u PYTHONUNBUFFERED"):
    """Exit status of the command, whose output nobody reads, and what it says on standard error."""
    command = f"{python} {sys.executable} -m refimpl {words} | true; echo ${{PIPESTATUS[0]}}"
    process = run(["bash", "-c", command], cwd)
    return int(process.stdout), process.stderr


def test_a_reader_that_leaves_early_is_no_error(files):
    folder, *_ = files
    assert status_unread("radius net.npz data.npz", folder) == (0, "")


def test_a_failure_is_one_though_nobody_reads_it(tmp_path):
    assert status_unread("data verify .", tmp_path)[0] == 1


def test_a_command_that_is_cut_short_is_no_success(tmp_path):
    assert status_unread("data verify .", tmp_path, "PYTHONUNBUFFERED=1") == (141, "")


def test_a_file_may_be_called_as_an_argument_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    TwoLayerReLU([[1.0]], None, [[1.0]]).save("network")
    Path("data").write_text("no samples")
    _, _, err = call(capsys, "radius", "network", "data")
    assert err == [
        "refimpl: error: data: expected an .npz file of arrays, got another kind of file"
    ]


def test_data_verify_says_what_is_there(tmp_path, capsys):
    status, out, _ = call(capsys, "data", "verify", tmp_path)
    assert (status, out) == (1, f"mnist: not there; cifar10: not there\n{ADVICE}\n")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"not idx")
    status, out, _ = call(capsys, "data", "verify", tmp_path)
    assert status == 1
    assert "MNIST: " in out
    assert out.endswith(f"\nmnist: not whole, 2 of 2 lines above; cifar10: not there\n{ADVICE}\n")


def test_data_verify_of_whole_data(data_directory, capsys):
    status, out, _ = call(capsys, "data", "verify", data_directory / "mnist")
    assert status == 0
    assert out.count(": whole\n") == 4
    assert out.endswith("\nmnist: whole; cifar10: not there\n")


def test_data_fetch_prints_the_files(tmp_path, capsys, monkeypatch):
    asked = []

    def fetch(name, directory):
        asked.append((name, directory))
        return [directory / "mnist" / "a"]

    monkeypatch.setattr("refimpl.datasets.fetch", fetch)
    status, out, _ = call(capsys, "data", "fetch", "mnist", tmp_path)
    assert status == 0
    assert asked == [("mnist", tmp_path)]
    assert out == f"{tmp_path / 'mnist' / 'a'}\n"


def _interrupt(command, folder, ready):
    """Start, wait until `ready`, send SIGINT; exit status and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "refimpl", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 60
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.slow
def test_ctrl_c_during_reproduce_leaves_whole_files_and_status_130(tmp_path):
    command = ["reproduce", "synthetic", "--d", "400", "--pgd-steps", "1000000", "--out", "out"]
    out = tmp_path / "out"
    status, err = _interrupt(command, tmp_path, lambda: (out / "cosines.png").exists())
    assert status == 130
    kept = f"refimpl: accuracies and cosines, no radii, in {Path('out', 'summary.json')}"
    assert err.splitlines() == [kept, "refimpl: interrupted"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert {"settings", "two_class", "ten_class"} <= summary.keys()
    assert {path.name for path in out.iterdir()} == {"summary.json", "cosines.png"}


@pytest.mark.usefixtures("without_figures")
def test_ctrl_c_while_measuring_keeps_what_was_found_before(tmp_path, capsys, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("refimpl.experiments.comparison.measure", interrupted)
    status, _, err = call(capsys, "reproduce", "synthetic", *SMALL, "--out", tmp_path)
    kept = f"refimpl: accuracies and cosines, no radii, in {tmp_path / 'summary.json'}"
    assert (status, err) == (130, [kept, "refimpl: interrupted"])
    summary = json.loads((tmp_path / "summary.json").read_text())
    known = {"refimpl_version", "settings", "two_class", "ten_class", "coefficients"}
    assert summary.keys() == known | {"interrupted"}


def test_ctrl_c_before_the_first_sample_writes_nothing(files, capsys, monkeypatch):
    folder, *_ = files

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("refimpl.radius.robust_radius", interrupted)
    words = ["radius", folder / "net.npz", folder / "data.npz", "--out", folder / "out"]
    status, out, _ = call(capsys, *words)
    assert (status, out) == (130, "")
    assert not (folder / "out").exists()


def test_sign_of_several_outputs_names_the_words_of_the_command_line():
    args = argparse.Namespace(decision="sign", labels=None)
    takes = "argmax, or group_max or group_sum with --labels, got sign for K = 3 outputs"
    with pytest.raises(ValueError, match=f"^--decision: expected one that fits, {takes}$"):
        options.decision(args, 3)


def test_no_verify_is_offered_only_where_it_helps(tmp_path):
    """Not for a page that a server sent instead of the file, nor for one that is cut short."""
    for error, helps in (
        (UnofficialDataError(tmp_path, "the official one", "another"), True),
        (DatasetFormatError(tmp_path, "an IDX file", "an HTML page"), False),
    ):
        advice = cli_data.advised(error, argparse.Namespace(no_verify=False))
        assert ("--no-verify" in (advice or "")) == helps
        assert cli_data.advised(error, argparse.Namespace(no_verify=True)) is None
