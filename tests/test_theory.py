"""E19 to E25: closed radii and laws, against enumeration, sampling, other libraries and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from refimpl import ClusterDistribution, GroupMax, GroupSum, TwoLayerReLU, robust_radius, theory
from tests import tolerances

KINDS = ("averaging", "group_max", "group_sum")
PARTITIONS = [(1, 1), (1, 3), (3, 1), (2, 3), (5, 5)]


def test_e19_to_e21_by_hand():
    assert theory.feature_averaging_radius(9, 36) == 2.0
    assert theory.decoupled_radius(18) == 3.0
    assert theory.decoupled_radius(18, bias=5.0) == 3.0
    assert theory.decoupled_radius(16, bias=-12.0) == 1.0  # 4 - 12/4
    assert theory.group_sum_radius(8, 36) == 2.0
    # (4 + (n - 1) 2) / sqrt(1 + n), n = 0, 1, 2, ..: 2, 4/sqrt(2), 6/sqrt(3): the first
    assert theory.group_sum_radius(5, 16, bias=-8.0) == 2.0
    # (4 + (n - 1)/4) / sqrt(1 + n): 3.75, 2.83, 2.45, 2.25: the last
    assert theory.group_sum_radius(3, 16, bias=-1.0) == 2.25


def test_centre_radii_of_each_kind_by_hand():
    by_kind = {"averaging": 3.0, "group_max": math.sqrt(18), "group_sum": 3.0}
    for kind, radius in by_kind.items():
        assert theory.centre_radius(kind, k_own=1, k_opposite=3, d=36) == radius
    assert theory.centre_radius("group_sum", k_own=3, k_opposite=1, d=36) == math.sqrt(18)
    for wrong in ({"kind": "max"}, {"k_own": 0}, {"k_opposite": 0}, {"d": 3}):
        arguments = {"kind": "averaging", "k_own": 1, "k_opposite": 3, "d": 36, **wrong}
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            theory.centre_radius(**arguments)


@pytest.mark.parametrize("noise", [1.0, 40.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_median_halves_the_law(kind, noise):
    law = {"n_positive": 2, "n_negative": 2, "d": 60, "noise_std": noise}
    median = theory.median_radius(kind, **law)
    share = theory.robust_accuracy(kind, [median], **law)[0]
    # The density of a radius is at most that of N(0, 1) for each unit of noise, far below 10.
    assert share == pytest.approx(0.5, abs=1e-8) if median > 0 else share < 0.5
    assert median > 0 or noise == 40


def test_no_law_is_known_without_orthogonal_features_or_noise():
    dist = ClusterDistribution.orthogonal(4, 9, labels=[1, -1, -1, -1], noise_std=0.5, rng=0)
    sizes = {"n_positive": 1, "n_negative": 3, "d": 9, "noise_std": 0.5}
    assert theory.law_parameters(dist) == sizes
    assert theory.law_parameters(ClusterDistribution.correlated(4, 9, cosine=1e-6, rng=0)) is None
    assert theory.law_parameters(ClusterDistribution(2 * dist.features, dist.labels)) is None
    assert theory.law_parameters(ClusterDistribution.orthogonal(4, 9, noise_std=0, rng=0)) is None


@pytest.mark.parametrize("bias", [-16.0, -17.0, -1e9])
def test_a_bias_that_silences_the_centre_leaves_radius_0(bias):
    assert theory.decoupled_radius(16, bias) == 0.0
    assert theory.group_sum_radius(3, 16, bias) == 0.0


@given(k=st.integers(1, 20), extra=st.integers(1, 50), share=st.floats(0, 1))
def test_e21_lies_between_its_values_for_none_and_for_all_other_neurons(k, extra, share):
    d = k + extra
    radius = theory.group_sum_radius(k, d, -share * d)
    ends = [(d + (n - 1) * share * d) / math.sqrt(d * (1 + n)) for n in (0, k)]
    assert radius <= min(ends) + tolerances.gamma(20) * math.sqrt(d)


def _orthogonal(n_positive, n_negative, d):
    labels = [1] * n_positive + [-1] * n_negative
    return ClusterDistribution.orthogonal(len(labels), d, labels=labels, rng=d)


@given(seed=st.integers(0, 10_000), sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_e22_equals_its_form_in_p_and_q(seed, sizes):
    dist = _orthogonal(*sizes, d=12)
    sample = dist.sample(5, rng=seed)
    radii = theory.feature_averaging_radius_at(sample.x, sample.y, dist)
    k = dist.n_clusters
    for x, y, radius in zip(sample.x, sample.y, radii, strict=True):
        sums = [float((dist.features[dist.labels == side] @ x).sum()) for side in (y, -y)]
        p, q = (value / math.sqrt(12) for value in sums)
        own = int((dist.labels == y).sum())
        expected = min(p / math.sqrt(own), (p - q) / math.sqrt(k)) if p > max(q, 0) else 0.0
        assert radius == pytest.approx(expected, rel=0, abs=tolerances.gamma(100) * 100)


@pytest.mark.parametrize("sizes", PARTITIONS)
def test_e22_at_centres_is_e19(sizes):
    dist = _orthogonal(*sizes, d=12)
    radii = theory.feature_averaging_radius_at(dist.features, dist.labels, dist)
    np.testing.assert_allclose(radii, math.sqrt(12 / sum(sizes)), rtol=tolerances.gamma(100))


def test_e22_no_point_nearer_is_adversarial_and_one_just_beyond_is():
    dist = ClusterDistribution([[2.0, 1.0], [0.0, 1.5], [-1.0, 1.0]], [1, 1, -1])  # any features
    net = TwoLayerReLU.feature_averaging(dist)
    x, y = np.array([[1.0, 0.3], [0.2, 2.0], [-3.0, 0.5]]), np.array([1, 1, -1])
    radii = theory.feature_averaging_radius_at(x, y, dist)
    angles = np.linspace(0, 2 * math.pi, 4001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for point, label, radius in zip(x, y, radii, strict=True):
        assert radius > 0
        for t in (0.5, 0.9, 0.999999):
            assert (label * net.outputs(point + t * radius * circle) > 0).all()
        assert (label * net.outputs(point + 1.000001 * radius * circle) <= 0).any()


def test_e22_is_0_where_the_network_is_wrong_or_constant():
    dist = ClusterDistribution([[1.0, 0.0], [1.0, 0.0]], [1, -1])  # f_FA = 0 everywhere
    assert theory.feature_averaging_radius_at([[1, 0]], [1], dist).tolist() == [0.0]
    cancelled = ClusterDistribution([[1.0, 0], [-1.0, 0], [0, 1.0]], [1, 1, -1])  # v+ = 0
    radii = theory.feature_averaging_radius_at([[0, -2.0], [0, 2.0]], [1, -1], cancelled)
    assert radii.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_e22_does_not_depend_on_the_scale_of_the_features(scale):
    dist = ClusterDistribution(np.array([[2.0, 0.0], [0.0, 2.0]]) * scale, [1, -1])
    radii = theory.feature_averaging_radius_at([[3.0, 1.0], [2.0, 1.0]], [1, 1], dist)
    np.testing.assert_allclose(radii, [math.sqrt(2), math.sqrt(0.5)], rtol=1e-15)


def _drawn(kind, own, opp, root, n, rng):
    """Radii by the formulas of E23 to E25, from their own Gaussians."""
    g_own, g_opp = rng.standard_normal((own, n)), rng.standard_normal((opp, n))
    if kind == "averaging":
        p, q = root + g_own.sum(axis=0), g_opp.sum(axis=0)
        r = np.minimum(p / math.sqrt(own), (p - q) / math.sqrt(own + opp))
    elif kind == "group_max":
        r = (root + g_own[0] - g_opp.max(axis=0)) / math.sqrt(2)
    else:
        score = root + g_own[0] - g_opp.sum(axis=0)
        rest = (np.maximum(g_own[1:], 0) ** 2).sum(axis=0)
        r = np.where(score > 0, np.sqrt(score**2 / (1 + opp) + rest), 0)
    return np.maximum(r, 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(1, 1), (2, 5), (5, 5)])
@pytest.mark.parametrize(("d", "noise_std"), [(16, 1.0), (400, 1.0), (400, 2.5)])
def test_e23_to_e25_laws_are_those_of_their_formulas(kind, sizes, d, noise_std):
    n, rng, root = 100_000, np.random.default_rng(d), math.sqrt(d) / noise_std
    first = rng.random(n) < sizes[0] / sum(sizes)  # the class of the sample
    drawn = [_drawn(kind, own, opp, root, n, rng) for own, opp in (sizes, sizes[::-1])]
    radii = noise_std * np.where(first, *drawn)
    epsilons = np.linspace(0, radii.max(), 60)
    law = theory.robust_accuracy(
        kind, epsilons, n_positive=sizes[0], n_negative=sizes[1], d=d, noise_std=noise_std
    )
    empirical = (radii > epsilons[:, None]).mean(axis=1)
    assert np.abs(law - empirical).max() <= tolerances.uniform_distance(n)


EPSILONS = np.array([0.0, 0.3, 1.0, 2.5, 4.0, 6.0])


def _law(kind, sizes, d, epsilons=EPSILONS):
    return theory.robust_accuracy(kind, epsilons, n_positive=sizes[0], n_negative=sizes[1], d=d)


def _mixed(survival, sizes):
    own, opp = sizes
    return (own * survival(own, opp) + opp * survival(opp, own)) / (own + opp)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 5), (1, 40), (40, 2)])
def test_e23_is_a_bivariate_normal_probability(sizes):
    d = 50

    def survival(own, opp):
        rho = math.sqrt(own / (own + opp))
        given = {"cov": [[1, rho], [rho, 1]], "abseps": 1e-14, "releps": 1e-14}
        ends = [[math.sqrt(d / own) - e, math.sqrt(d / (own + opp)) - e] for e in EPSILONS]
        return np.array([stats.multivariate_normal.cdf(end, **given) for end in ends])

    expected = _mixed(survival, sizes)
    np.testing.assert_allclose(
        _law("averaging", sizes, d), expected, rtol=0, atol=tolerances.ADAPTIVE
    )


@pytest.mark.parametrize("sizes", [(1, 1), (2, 5), (1, 30)])
def test_e24_by_adaptive_quadrature_over_the_maximum(sizes):
    d = 40

    def survival(own, opp):
        def density(m):  # of max_opp g, times P(g_own > sqrt(2) e - sqrt(d) + m)
            largest = opp * stats.norm.pdf(m) * stats.norm.cdf(m) ** (opp - 1)
            return largest * stats.norm.cdf(math.sqrt(d) - m - math.sqrt(2) * EPSILONS)

        return integrate.quad_vec(density, -12, 12, epsabs=1e-13, epsrel=1e-13)[0]

    np.testing.assert_allclose(
        _law("group_max", sizes, d), _mixed(survival, sizes), rtol=0, atol=tolerances.ADAPTIVE
    )


@pytest.mark.parametrize("sizes", [(2, 2), (2, 5), (4, 3)])
def test_e25_by_adaptive_quadrature_over_the_score(sizes):
    d = 40

    def survival(own, opp):
        centre = math.sqrt(d / (1 + opp))
        j = np.arange(1, own)
        chance = stats.binom.pmf(j, own - 1, 0.5)

        def above(e):  # P(s^2 > e^2 - t^2) under the density of T, t = e sin(angle)
            def density(angle):
                t = e * math.sin(angle)
                tail = stats.chi2.sf((e * math.cos(angle)) ** 2, j) @ chance
                return stats.norm.pdf(t - centre) * tail * e * math.cos(angle)

            return integrate.quad(density, 0, math.pi / 2, epsabs=1e-13, epsrel=1e-13)[0]

        return stats.norm.sf(EPSILONS - centre) + [above(e) for e in EPSILONS]

    np.testing.assert_allclose(
        _law("group_sum", sizes, d), _mixed(survival, sizes), rtol=0, atol=tolerances.ADAPTIVE
    )


def test_laws_that_are_normal_distributions():
    epsilons = np.linspace(0, 30, 7)
    close = {"rtol": 0, "atol": tolerances.QUADRATURE}
    one = stats.norm.sf(epsilons - math.sqrt(200 / 2))
    np.testing.assert_allclose(_law("group_max", (1, 1), 200, epsilons), one, **close)
    np.testing.assert_allclose(_law("group_sum", (1, 1), 200, epsilons), one, **close)
    # The second branch of E23 alone: sqrt(d) (sqrt(k) - 1) is 40 standard deviations of q.
    second = stats.norm.sf(epsilons - math.sqrt(10_000 / 2))
    np.testing.assert_allclose(_law("averaging", (1, 1), 10_000, epsilons), second, **close)


@given(
    kind=st.sampled_from(KINDS),
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    d=st.integers(60, 10_000),
    epsilons=st.lists(st.floats(0, 1e200), min_size=1, max_size=5),
)
def test_laws_lie_in_0_to_1_and_never_rise(kind, sizes, d, epsilons):
    epsilons = np.array([*epsilons, 0.0, 1e9])
    before = epsilons.copy()
    law = _law(kind, sizes, d, epsilons)
    assert law.shape == epsilons.shape
    assert (np.diff(law[np.argsort(epsilons)]) <= 0).all()
    assert (law >= 0).all()
    assert (law <= 1).all()
    assert law[-1] == 0.0
    np.testing.assert_array_equal(epsilons, before)


@given(kind=st.sampled_from(KINDS), sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_laws_are_the_same_with_the_classes_exchanged(kind, sizes):
    # The two terms of the mixture are added in the other order.
    difference = _law(kind, sizes, 80) - _law(kind, sizes[::-1], 80)
    assert np.abs(difference).max() <= 2 * tolerances.U


@pytest.mark.slow
def test_laws_hold_up_with_thousands_of_clusters():
    law = _law("group_sum", (3000, 3000), 10_000, np.array([0.0, 10.0, 60.0]))
    assert np.isfinite(law).all()
    # N ~ N(100, 3001) is positive with probability P(g < 100 / sqrt(3001)) = 0.966..
    assert law[0] == pytest.approx(stats.norm.cdf(100 / math.sqrt(3001)), abs=tolerances.QUADRATURE)


def _classifier(kind, dist, bias=0.0):
    """The idealised network, and how it decides."""
    if kind == "averaging":
        return TwoLayerReLU.feature_averaging(dist), "sign"
    decision = {"group_max": GroupMax, "group_sum": GroupSum}[kind](dist.labels)
    return TwoLayerReLU.feature_decoupling(dist, bias), decision


@pytest.mark.parametrize("sizes", [*PARTITIONS, (7, 3)])
@pytest.mark.parametrize(
    "bias", [0.0, -12.0, *(pytest.param(b, marks=pytest.mark.slow) for b in (-3.0, -23.0, 5.0))]
)
def test_e19_to_e21_are_the_exact_radii_at_centres(sizes, bias):
    d = 24
    dist = _orthogonal(*sizes, d=d)
    k_opposite = np.where(dist.labels > 0, sizes[1], sizes[0])
    expected = {"group_max": np.full(sum(sizes), theory.decoupled_radius(d, bias))}
    if bias == 0:
        expected["averaging"] = np.full(sum(sizes), theory.feature_averaging_radius(sum(sizes), d))
    if bias <= 0:
        radii = [theory.group_sum_radius(int(k), d, bias) for k in k_opposite]
        expected["group_sum"] = np.array(radii)
    for kind, radii in expected.items():
        net, decision = _classifier(kind, dist, bias)
        found = robust_radius(net, dist.features, dist.labels, decision=decision)
        np.testing.assert_allclose(found.lower, radii, rtol=tolerances.RADIUS, err_msg=kind)
        np.testing.assert_allclose(found.upper, radii, rtol=tolerances.RADIUS, err_msg=kind)


@pytest.mark.parametrize("sizes", PARTITIONS)
def test_e22_is_the_exact_radius_at_any_sample(sizes):
    dist = _orthogonal(*sizes, d=20)
    sample = dist.sample(60, rng=3)
    net, decision = _classifier("averaging", dist)
    found = robust_radius(net, sample.x, sample.y, decision=decision)
    expected = theory.feature_averaging_radius_at(sample.x, sample.y, dist)
    assert (expected == 0).any() or sizes != (5, 5)  # d = 20 is small enough for mistakes
    np.testing.assert_allclose(found.upper, expected, rtol=tolerances.RADIUS)
    np.testing.assert_allclose(found.lower, expected, rtol=tolerances.RADIUS)


@pytest.mark.parametrize(
    ("kind", "sizes", "d"),
    [
        ("averaging", (2, 3), 30),  # exact at every d
        ("averaging", (1, 4), 300),
        ("group_max", (3, 2), 300),  # 0 is 8 standard deviations below the mean of the two
        ("group_sum", (2, 2), 900),  # sqrt(d) is 30, well above 6 (1 + k_opp) = 18
    ],
)
def test_e23_to_e25_are_the_laws_of_exact_radii_of_idealised_networks(kind, sizes, d):
    n = 400
    dist = _orthogonal(*sizes, d=d)
    sample = dist.sample(n, rng=11)
    net, decision = _classifier(kind, dist)
    radii = robust_radius(net, sample.x, sample.y, decision=decision).upper
    epsilons = np.linspace(0, radii.max(), 50)
    empirical = (radii > epsilons[:, None]).mean(axis=1)
    law = _law(kind, sizes, d, epsilons)
    assert np.abs(law - empirical).max() <= tolerances.uniform_distance(n)
    if kind == "group_max":  # and sample by sample, from the formula itself
        g = (sample.x - dist.features[sample.cluster]) @ dist.features.T / math.sqrt(d)
        opposite = np.where(dist.labels != sample.y[:, None], g, -np.inf).max(axis=1)
        own = g[np.arange(n), sample.cluster]
        expected = (math.sqrt(d) + own - opposite) / math.sqrt(2)
        np.testing.assert_allclose(radii, expected, rtol=tolerances.RADIUS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.feature_averaging_radius(1, 9), "k: expected an integer of at least 2"),
        (lambda: theory.feature_averaging_radius(4, 3), "d: expected an integer of at least 4"),
        (lambda: theory.feature_averaging_radius(2.0, 9), "k: expected an integer"),
        (lambda: theory.decoupled_radius(1), "d: expected an integer of at least 2"),
        (lambda: theory.decoupled_radius(4, math.nan), "bias: expected finite"),
        (lambda: theory.group_sum_radius(0, 9), "k_opposite: expected an integer of at least 1"),
        (lambda: theory.group_sum_radius(4, 4), "d: expected an integer of at least 5"),
        (lambda: theory.group_sum_radius(4, 9, 1.0), "bias: expected a number of at most 0"),
    ],
)
def test_radii_refuse_bad_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "argmax"}, "kind: expected 'averaging' or 'group_max' or 'group_sum'"),
        ({"epsilons": [1.0, -0.1]}, "epsilons: expected numbers of at least 0, got -0.1"),
        ({"epsilons": []}, "epsilons: expected real numbers of shape"),
        ({"epsilons": 1.0}, "epsilons: expected real numbers of shape"),
        ({"n_positive": 0}, "n_positive: expected an integer of at least 1"),
        ({"n_negative": 0}, "n_negative: expected an integer of at least 1"),
        ({"d": 3}, "d: expected an integer of at least 4"),
        ({"noise_std": 0.0}, "noise_std: expected a positive number"),
        ({"noise_std": 1e-300}, "noise_std: expected values .*, got an overflow"),
    ],
)
def test_robust_accuracy_refuses_bad_arguments(change, message):
    good = {"kind": "averaging", "epsilons": [1.0], "n_positive": 2, "n_negative": 2, "d": 9}
    with pytest.raises(ValueError, match=message):
        theory.robust_accuracy(**{**good, **change})


def test_e22_refuses_bad_samples():
    dist = _orthogonal(1, 1, 4)
    with pytest.raises(ValueError, match="x: expected real numbers of shape"):
        theory.feature_averaging_radius_at([[1.0]], [1], dist)
    with pytest.raises(ValueError, match="y: expected labels"):
        theory.feature_averaging_radius_at(np.ones((1, 4)), [0], dist)
