"""Figures are whole PNG files that show what they are given."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest

from refimpl.experiments import figures
from refimpl.radius import RobustRadius

PNG = b"\x89PNG\r\n\x1a\n"
pytest.importorskip("matplotlib", reason="figures need the extra plot")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would be saved, to look into."""
    seen = []
    monkeypatch.setattr(figures, "save", lambda figure, path: seen.append(figure))
    return seen


@pytest.fixture
def saved(monkeypatch):
    """The figures that were saved, to look into."""
    seen = []
    save = figures.save

    def keep(figure, path):
        seen.append(figure)
        save(figure, path)

    monkeypatch.setattr(figures, "save", keep)
    return seen


def _panel(k, m):
    values = np.linspace(-1, 1, k * m).reshape(k, m)
    return figures.Cosines(
        "title",
        values,
        "feature",
        "neuron",
        [f"f{i}" for i in range(k)],
        [str(r) for r in range(m)],
    )


def test_cosines_shows_every_panel_its_names_and_its_numbers(tmp_path, saved):
    path = tmp_path / "cosines.png"
    panels = [_panel(2, 3), _panel(2, 2)]
    figures.draw_cosines(path, panels)
    assert path.read_bytes().startswith(PNG)
    assert [p.name for p in tmp_path.iterdir()] == ["cosines.png"]
    axes = saved[0].axes[:2]  # the third is the colour bar
    for ax, panel in zip(axes, panels, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), panel.values)
        assert ax.images[0].get_clim() == (-1, 1)
        assert [t.get_text() for t in ax.texts] == [f"{v:.2f}" for v in panel.values.ravel()]
        assert [t.get_text() for t in ax.get_yticklabels()] == ["f0", "f1"]
        assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("title", "neuron", "feature")


def test_large_cosine_matrices_have_no_numbers_and_few_names(tmp_path, drawn):
    figures.draw_cosines(tmp_path / "a.png", [_panel(40, 60)])
    ax = drawn[0].axes[0]
    assert len(ax.texts) == 0
    assert len(ax.get_yticklabels()) <= 20


def test_robustness_draws_the_curves_it_is_given_in_percent(tmp_path, drawn):
    e = np.array([0.0, 1.0, 2.0])
    shares = {"exact": np.array([1.0, 0.5, 0.0]), "law": np.array([1.0, 0.4, 0.1])}
    panel = figures.Curves("finding", {name: (e, share) for name, share in shares.items()})
    other = figures.Curves("other", {"pgd": (e, shares["exact"])})
    figures.draw_robustness(tmp_path / "r.png", [panel, other], unit="pixels")
    first, second = drawn[0].axes
    lines = {line.get_label(): line for line in first.lines}
    assert lines.keys() == {figures.STYLES[name]["label"] for name in shares}
    for name, share in shares.items():
        line = lines[figures.STYLES[name]["label"]]
        np.testing.assert_array_equal(line.get_xdata(), e)
        np.testing.assert_array_equal(line.get_ydata(), 100 * share)
    pgd = figures.STYLES["pgd"]["label"]
    assert pgd == r"PGD, afresh at each $\epsilon$"
    assert [line.get_label() for line in second.lines] == [pgd]
    assert "pixels" in first.get_xlabel()
    assert (first.get_title(), second.get_title()) == ("finding", "other")
    legend = {text.get_text() for text in drawn[0].legends[0].get_texts()}
    assert legend == {*lines, pgd}


def test_networks_have_a_legend_and_colours_of_their_own(tmp_path, drawn):
    e, share = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    networks = figures.Curves("networks", dict.fromkeys(figures.TITLES, (e, share)))
    names = ("exact", "closed_form", "pgd")
    attacks = figures.Curves("attacks", dict.fromkeys(names, (e, share)))
    figures.draw_robustness(tmp_path / "r.png", [networks, attacks], unit="u")
    first, second = drawn[0].axes
    inside = [text.get_text() for text in first.get_legend().get_texts()]
    assert inside == list(figures.TITLES.values())
    below = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert below == [line.get_label() for line in second.lines]
    colours = [line.get_color() for ax in (first, second) for line in ax.lines]
    assert len(set(colours)) == 6
    marked = [line for line in second.lines if line.get_marker() == "o"]
    assert [line.get_clip_on() for line in marked] == [False]


def _radius(lower, upper, status):
    lower, upper, n = np.array(lower), np.array(upper), len(status)
    return RobustRadius(
        lower, upper, np.zeros((n, 1)), np.array(status), np.zeros(n, dtype=int), None
    )


EXACT = _radius([0.0, 1.0, 1.0, np.inf], [0.0, 1.0, 1.0, np.inf], [*["exact"] * 3, "unreachable"])
BAND = "95 % confidence of the distribution\n(Clopper-Pearson)"
BOUNDED = _radius([0.5, 1.0], [2.0, 1.0], ["bounded", "exact"])


def test_bounds_are_one_curve_where_they_agree():
    drawn = figures.bounds(EXACT, 3.0)
    assert drawn.keys() == {"confidence", "exact"}
    epsilons, share = drawn["exact"]
    assert epsilons.tolist() == [0, 1, 3]
    assert share.tolist() == [0.75, 0.25, 0.25]  # r > epsilon: the drop is at the radius itself
    drawn = figures.bounds(BOUNDED, 3.0)
    assert drawn["lower"][0].tolist() == drawn["upper"][0].tolist() == [0, 0.5, 1, 2, 3]
    assert drawn["lower"][1].tolist() == [1, 0.5, 0, 0, 0]
    assert drawn["upper"][1].tolist() == [1, 1, 0.5, 0, 0]


def test_bounds_that_differ_only_beyond_the_last_radius_are_one_curve():
    far = _radius([1.0, 3.5], [1.0, 9.0], ["exact", "bounded"])
    assert figures.bounds(far, 3.0).keys() == {"confidence", "exact"}
    assert figures.bounds(far, 3.5).keys() == {"confidence", "lower", "upper"}


def test_bands_say_what_the_samples_say_of_the_distribution(tmp_path, drawn):
    # Clopper and Pearson: of 2 samples both have (alpha/2)^(1/2), none has 1 - (alpha/2)^(1/2)
    end = math.sqrt((1 - figures.CONFIDENCE) / 2)
    area = figures.bounds(BOUNDED, 3.0)["confidence"]
    np.testing.assert_allclose(area.low[[0, 2]], [end, 0], atol=1e-12)
    np.testing.assert_allclose(area.high[[0, 3]], [1, 1 - end], atol=1e-12)
    other = _radius([0.0, 0.0], [0.0, 0.0], ["exact"] * 2)
    both = figures.confidence([BOUNDED, other], area.epsilons)
    np.testing.assert_allclose(both.low[0], 0, atol=1e-12)
    np.testing.assert_allclose(both.high[0], 1, atol=1e-12)
    figures.draw_robustness(
        tmp_path / "r.png", [figures.Curves("t", figures.bounds(BOUNDED, 3.0))], unit="u"
    )
    (ax,) = drawn[0].axes
    (band,) = ax.collections
    assert band.get_label() == BAND
    assert band.get_paths()[0].vertices[:, 1].max() == 100
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == [BAND, "upper bound", "lower bound"]


def test_shares_of_samples_drop_in_vertical_steps_and_laws_do_not(tmp_path, drawn):
    e, share = np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.5, 0.0])
    curves = dict.fromkeys(("exact", "closed_form", "law", "pgd"), (e, share))
    curves["upper"] = figures.Band(e, share, 0.5 * share, share)
    figures.draw_robustness(tmp_path / "r.png", [figures.Curves("t", curves)], unit="u")
    (ax,) = drawn[0].axes
    styles = {line.get_label(): line.get_drawstyle() for line in ax.lines}
    stepped = {figures.STYLES[name]["label"] for name in ("exact", "closed_form", "upper")}
    assert {label for label, style in styles.items() if style == "steps-post"} == stepped
    edges = ax.collections[0].get_paths()[0].vertices
    assert all(x0 == x1 or y0 == y1 for (x0, y0), (x1, y1) in itertools.pairwise(edges))


def test_a_thousand_thousand_drops_are_drawn_on_a_grid():
    grid = figures.drops(2.0, np.linspace(0, 3, 10**6))
    assert len(grid) < 10**4
    assert (grid[0], grid[-1]) == (0, 2)


def test_radii_have_titles_that_say_what_is_exact(tmp_path, saved):
    figures.draw_radii(tmp_path, EXACT, figures.Threat())
    figures.draw_radii(tmp_path, BOUNDED, figures.Threat())
    titles = [figure.axes[0].get_title() for figure in saved]
    assert titles == [
        "Exact robust radii, 4 samples\n(misclassified, radius 0: 1)"
        "\n(infinite ones, not shown: 1)",
        "Exact robust accuracy, 4 samples",
        "Lower and upper bounds of robust radii, 2 samples\n(radii known exactly: 1)",
        "Lower and upper bounds of robust accuracy, 2 samples\n(radii known exactly: 1)",
    ]
    legends = [figure.axes[0].get_legend() or figure.legends for figure in saved]
    assert legends[0] == []
    assert [text.get_text() for text in legends[1][0].get_texts()] == [BAND, "exact"]
    assert [text.get_text() for text in legends[2].get_texts()] == ["lower bound", "upper bound"]
    assert {path.name for path in tmp_path.iterdir()} == {"histogram.png", "curve.png"}


@pytest.mark.parametrize(
    ("threat", "said"),
    [
        (figures.Threat(), r"$\ell_2$ distance in input space"),
        (figures.Threat(1), r"$\ell_1$ distance in input space"),
        (figures.Threat(np.inf, (0, 1)), r"$\ell_\infty$ distance in the box [0, 1]"),
    ],
)
def test_axes_of_radii_name_the_norm_and_the_box(tmp_path, drawn, threat, said):
    figures.draw_radii(tmp_path, EXACT, threat)
    labels = [figure.axes[0].get_xlabel() for figure in drawn]
    assert labels == [f"robust radius, {said}", rf"radius $\epsilon$, {said}"]


def test_a_title_says_of_what_data_a_figure_is(tmp_path, drawn):
    e = np.array([0.0, 1.0])
    panel = figures.Curves("panel", {"exact": (e, 1 - e)})
    figures.draw_robustness(tmp_path / "r.png", [panel], unit="u", title="MNIST")
    figures.draw_cosines(tmp_path / "c.png", [_panel(2, 2)], title="MNIST")
    assert [figure.get_suptitle() for figure in drawn] == ["MNIST", "MNIST"]


@pytest.mark.parametrize("radii", [[], [np.inf], [0.0], [2.0, 2.0], [1.0, 1 + 1e-15], [5e-324]])
def test_histogram_of_few_or_equal_radii(tmp_path, drawn, radii):
    figures.draw_histogram(tmp_path / "h.png", {"exact": np.array(radii)}, title="t", unit="u")
    counted = sum(bar.get_height() for bar in drawn[0].axes[0].patches)
    assert counted == np.isfinite(radii).sum()


def test_histogram_counts_with_whole_ticks(tmp_path, saved):
    radii = np.array([0.0, 1.0, 1.0, np.inf])
    figures.draw_histogram(tmp_path / "h.png", {"exact": radii}, title="t", unit="pixels")
    ax = saved[0].axes[0]
    assert sum(bar.get_height() for bar in ax.patches) == 3
    assert all(tick == round(tick) for tick in ax.get_yticks())
    assert "pixels" in ax.get_xlabel()
    assert (tmp_path / "h.png").read_bytes().startswith(PNG)


def test_colours_differ_in_brightness_so_that_grey_prints_tell_them_apart():
    def brightness(colour):
        r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    levels = sorted(map(brightness, (figures.BLACK, figures.ORANGE, figures.BLUE)))
    assert min(np.diff(levels)) > 0.1


def test_without_matplotlib_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    assert not figures.available()
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pip install '.[plot]'" in err


def test_drawing_does_not_touch_pyplot(tmp_path):
    figures.draw_histogram(tmp_path / "h.png", {"exact": np.ones(3)}, title="t", unit="u")
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
