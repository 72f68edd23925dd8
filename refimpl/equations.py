"""The equations of the package: formula, source, and the modules that compute them.

A line of code that computes an equation carries its tag in a comment, ``# (E12)``, so that
``grep -rn '(E12)' refimpl proofs_numeric`` finds it.

Sources
-------
- "Paper": Li, Pan, Lyu and Li, *Feature Averaging: An Implicit Bias of Gradient Descent Leading to
  Non-Robustness in Neural Networks*, ICLR 2025, arXiv:2410.10322.
- MV24: Min and Vidal, *Can Implicit Bias Imply Adversarial Robustness?*, ICML 2024.
- MV25: Min and Vidal, *Gradient Flow Provably Learns Robust Classifiers for Orthonormal GMMs*,
  ICML 2025.
- "Derived": worked out for this package. `proofs_numeric` holds the evidence.

Notation
--------
x in R^d is a sample with label y, W, b, A, c are the network's arrays, z = W x + b, and f is an
output where there is one only. mu_j is the centre of cluster j of k; J+ and J- are the clusters of
each class, and v+, v- the sums of their centres. k_own and k_opp count the clusters of the sample's
own and of the opposite class. g is standard normal, and (t)_+ = max(t, 0).

Verifiers of neural networks have other names for some of what the exact radius is made of:

- tau_r, the slope of a line below ReLU(z_r): alpha in alpha-CROWN;
- nu_r, the multiplier of a split's condition z_r >= 0 or z_r <= 0: beta in beta-CROWN;
- a piece S, on which the branching neurons in S are on and the others off: an activation pattern
  of these neurons;
- a stable neuron: one whose z_r has a single sign in the whole ball, as there.
"""

from __future__ import annotations

from typing import NamedTuple


class Equation(NamedTuple):
    """Formula, source, and the modules that compute it.

    `where` names the modules of `refimpl` that compute the equation, and after them the modules of
    `proofs_numeric` that compute it as evidence. Not named are experiments, the conformance kit and
    the command line, which apply equations that others compute.

    >>> EQUATIONS["E17"].formula
    'f_FA(x) = ReLU(<v+, x>) - ReLU(<v-, x>)'
    >>> EQUATIONS["E17"].where
    ('refimpl.network',)
    """

    formula: str
    source: str
    where: tuple[str, ...]


def _at(*modules: str) -> tuple[str, ...]:
    """Full names; those that do not begin with ``proofs_numeric`` are in `refimpl`."""
    return tuple(it if it.startswith("proofs_numeric.") else f"refimpl.{it}" for it in modules)


EQUATIONS: dict[str, Equation] = {
    # Data.
    "E1": Equation(
        "x = mu_j + xi, xi ~ N(0, noise_std^2 I), j uniform, y = +1 on J+ and -1 on J-",
        "paper, Definition 3.1",
        _at("distribution", "proofs_numeric.data"),
    ),
    "E2": Equation(
        "||mu_j|| = sqrt(d), <mu_i, mu_j> = 0 for i != j",
        "paper, Assumption 3.2",
        _at("distribution", "proofs_numeric.data"),
    ),
    "E3": Equation(
        "1/r <= |J+|/|J-| <= r for some constant r >= 1",
        "paper, Assumption 3.3",
        _at("distribution"),
    ),
    # Networks.
    "E4": Equation("F(x) = A ReLU(W x + b) + c", "paper, section 3.2", _at("network")),
    "E5": Equation(
        "binary network: K = 1, M = 2m, A = [1/m .. 1/m, -1/m .. -1/m], c = 0",
        "paper, section 3.2",
        _at("network", "strategies"),
    ),
    "E6": Equation(
        "multi-class network: F_j(x) = (1/h) sum_r ReLU(<w_{j,r}, x>), r = 1..h",
        "paper, section 3.2",
        _at("network", "strategies"),
    ),
    "E7": Equation(
        "initially W_{r,j} ~ N(0, sigma_w^2), b_r ~ N(0, sigma_b^2)",
        "paper, section 3.2",
        _at("network"),
    ),
    # Losses, gradients, gradient descent.
    "E8": Equation(
        "logistic loss L = (1/n) sum_i log(1 + exp(-y_i f(x_i)))",
        "paper, section 3.2",
        _at("losses"),
    ),
    "E9": Equation(
        "dL/df_i = -(y_i/n) sigmoid(-y_i f_i)", "derived", _at("losses", "proofs_numeric.balance")
    ),
    "E10": Equation(
        "cross-entropy L = -(1/n) sum_i log softmax(F(x_i))_{y_i}, dL/dF = (softmax - onehot)/n",
        "paper, section 3.2; gradient derived",
        _at("losses"),
    ),
    "E11": Equation(
        "dL/dW = G^T X, dL/db = sum_i G_i, G = (dL/dF A) * 1[Z > 0]", "derived", _at("gradients")
    ),
    "E12": Equation("input gradient W^T (1[z > 0] * A^T v)", "derived", _at("gradients", "pgd")),
    "E13": Equation(
        "gradient descent W <- W - eta dL/dW, b <- b - eta dL/db, eta constant",
        "paper, section 3.2",
        _at("training"),
    ),
    "E14": Equation(
        "W(t) = W(0) + C(t)^T X, C(t+1) = C(t) - eta G(t), Z(t) = X W(0)^T + X X^T C(t) + b(t)",
        "derived",
        _at("training", "proofs_numeric.decomposition"),
    ),
    "E15": Equation(
        "w_r = w_r(0) + sum_j lambda_{r,j} mu_j/||mu_j||^2 + sum_i sigma_{r,i} xi_i/||xi_i||^2, "
        "lambda_{r,j} = ||mu_j||^2 sum_{i in cluster j} C_{i,r}, sigma_{r,i} = ||xi_i||^2 C_{i,r}",
        "paper; coefficients derived",
        _at("decomposition", "proofs_numeric.decomposition"),
    ),
    "E16": Equation(
        "C_{i,r}(t+1) - C_{i,r}(t) = eta/(n m) s_r y_i sigmoid(-y_i f_i) 1[z_{i,r} > 0], s_r the "
        "sign of neuron r; in size increments of C are below eta/(n m), of lambda_{r,j} below "
        "||mu_j||^2 n_j eta/(n m), of sigma_{r,i} below ||xi_i||^2 eta/(n m)",
        "derived",
        _at("decomposition", "proofs_numeric.monotone"),
    ),
    # Idealised networks, their radii and laws.
    "E17": Equation("f_FA(x) = ReLU(<v+, x>) - ReLU(<v-, x>)", "paper, Figure 1", _at("network")),
    "E18": Equation(
        "f_FD: F_j(x) = ReLU(<mu_j, x> + b)",
        "paper, Figure 1, with signs, and a bias b_j for each cluster; one common bias: derived",
        _at("network"),
    ),
    "E19": Equation(
        "radius of f_FA at a centre: sqrt(d/k)",
        "order: paper, abstract; bound from above: MV24; exact: derived",
        _at("theory"),
    ),
    "E20": Equation(
        "radius of f_FD, group_max, at a centre: min(sqrt(d/2), sqrt(d) + b/sqrt(d))_+; "
        "no classifier is robust beyond sqrt(d/2) on the centres of both classes",
        "order: paper, abstract; bound for every classifier: MV25, Proposition 1; exact: derived",
        _at("theory"),
    ),
    "E21": Equation(
        "radius of f_FD, group_sum, at a centre, b <= 0: min over n = 0..k_opp of "
        "(sqrt(d) + (n - 1)|b|/sqrt(d))/sqrt(1 + n), which is sqrt(d/(1 + k_opp)) for b = 0",
        "derived",
        _at("theory"),
    ),
    "E22": Equation(
        "radius of f_FA at x: min(<v_y, x>/||v_y||, <v_y - v_{-y}, x>/||v_y - v_{-y}||)_+",
        "derived",
        _at("theory", "proofs_numeric.feature_sets"),
    ),
    "E23": Equation(
        "law of f_FA's radius: r = min(p/sqrt(k_own), (p - q)/sqrt(k))_+, "
        "p ~ N(sqrt(d), k_own), q ~ N(0, k_opp)",
        "derived",
        _at("theory"),
    ),
    "E24": Equation(
        "law of f_FD's radius, group_max: r = (sqrt(d) + g_own - max_opp g)_+/sqrt(2)",
        "derived",
        _at("theory"),
    ),
    "E25": Equation(
        "law of f_FD's radius, group_sum, leading order: r^2 = N^2/(1 + k_opp) + "
        "sum_{other own} (g)_+^2 where N = sqrt(d) + g_own - sum_opp g > 0",
        "derived",
        _at("theory"),
    ),
    # Attacks.
    "E26": Equation(
        "x' = x - eps y v/||v||, v = v+ - v-",
        "paper, abstract: negative averaged features",
        _at("attacks", "proofs_numeric.evidence", "proofs_numeric.non_robust"),
    ),
    "E27": Equation(
        "smallest step along a ray, ||u|| = 1: t*(x) = min over targets l of "
        "min{t >= 0: g_{l,i}(x + t u) <= 0 for all i}",
        "derived",
        _at("rational_step", "smallest_step", "proofs_numeric.evidence"),
    ),
    "E28": Equation(
        "linear-region step delta = -f grad f/||grad f||^2",
        "one DeepFool step; derived",
        _at("attacks"),
    ),
    # The exact radius and its certificate.
    "E29": Equation(
        "r(x) = inf{||delta||: x + delta adversarial}; robust at epsilon: r > epsilon",
        "definition",
        _at("radius.curves"),
    ),
    "E30": Equation(
        "adversarial set = union over targets l of {g_{l,i} <= 0 for all i}, "
        "g = sum_r alpha_r ReLU(z_r) + beta",
        "derived",
        _at(
            "certificate.form",
            "decisions",
            "radius.geometry",
            "radius.points",
            "radius.raised",
            "rational_step",
            "smallest_step",
            "walks",
        ),
    ),
    "E31": Equation(
        "r = min over S of max over tau in [0,1]^own of (beta + sum_own tau_r alpha_r z_r - "
        "sum_{r in S} |alpha_r| z_r)_+/||sum_own tau_r alpha_r w_r - sum_{r in S} |alpha_r| w_r||, "
        "S the subsets of the neurons with alpha_r < 0, own those with alpha_r > 0, 0/0 = 0 and "
        "t/0 = inf; with several constraints the maximum is over weights w >= 0 of them too",
        "derived",
        _at("radius.ball", "radius.fast"),
    ),
    "E32": Equation(
        "lower <= r <= upper; exact: upper - lower <= tol upper; unreachable: r = inf",
        "definition",
        _at("radius.solve"),
    ),
    "E33": Equation(
        "leaf of a certificate that r > R: sum_i w_i g_i >= l(delta) = l0 + <l1, delta> on the "
        "leaf for ||delta|| <= R, and l0 > R ||l1||",
        "derived",
        _at(
            "certificate.fixed",
            "certificate.minorant",
            "certificate.rationals",
            "radius.empty",
            "radius.leaf",
            "radius.raised",
        ),
    ),
    # Parabolas in place of chords.
    "E34": Equation(
        "ReLU(t) <= (t + s)^2/(4 s) for every t and s > 0, with equality at t = s and t = -s",
        "derived",
        _at("certificate.minorant"),
    ),
    "E35": Equation(
        "sum_i w_i g_i >= Q(delta) = l0 + <W^T q, delta> - sum_N D_r (z_r + s_r + <w_r, delta>)^2 "
        "+ lambda (||delta||^2 - R^2), D_r = |gamma_r|/(4 s_r); inf Q > 0 where "
        "[[4 lambda k - p^T G p, h^T], [h, lambda D^-1 - G_NN]] is positive definite, "
        "G = W W^T, c = z + s on N, p = q - 2 D c, k = l0 - sum_N D_r c_r^2 - lambda R^2, "
        "h = G_N p",
        "derived; test in floats: Rump, BIT 46, 2006",
        _at("certificate.floats", "certificate.rationals", "radius.parabola"),
    ),
    "E36": Equation(
        "F = inf Q at delta*, t_r = z_r + <w_r, delta*>: "
        "dF/ds_r = -|gamma_r| (1/4 - t_r^2/(4 s_r^2)), dF/dtau_r = gamma_r t_r, "
        "dF/dnu_r = -t_r (on) or t_r (off), dF/dlambda = ||delta*||^2 - R^2, "
        "dF/dw_i = g_i(delta*) with the leaf's lines and parabolas",
        "derived",
        _at("radius.parabola"),
    ),
    # Norms and boxes.
    "E37": Equation(
        "r(x) = inf{||delta||_p: lo <= x + delta <= hi, x + delta adversarial}, p = 1, 2 or inf; "
        "Omega(R) = {||delta||_p <= R, -a <= delta <= b}, a = x - lo, b = hi - x",
        "definition",
        _at("radius.region"),
    ),
    "E38": Equation(
        "H_R(v) = max over Omega(R) of <v, delta>, cap_j = min(R, b_j) where v_j > 0, else "
        "min(R, a_j); p = inf: sum |v_j| cap_j; p = 1: min over s >= 0 of "
        "s R + sum (|v_j| - s)_+ cap_j; p = 2: min over v = u + q, q between 0 and v, of "
        "R ||u|| + sum |q_j| cap_j",
        "derived",
        _at("certificate.fixed", "certificate.rationals", "certificate.region", "radius.support"),
    ),
    "E39": Equation(
        "distance of {l0 + <v, delta> <= 0} in the box: the R with l0 = H_R(-v), "
        "inf if l0 > sum |v_j| cap_j(inf)",
        "derived",
        _at("radius.support"),
    ),
    "E40": Equation(
        "for all sigma in R^d and eta >= 0, with a box inf (Q + <sigma, delta> - sum_j (sigma_j^+ "
        "b_j + sigma_j^- a_j) + sum_j eta_j (delta_j + a_j)(delta_j - b_j)) > 0; here eta = 0, "
        "which loses little in l2",
        "derived; tests/benchmarks/box_parabolas.py measures what eta, and l_inf, would give",
        _at("certificate.floats", "certificate.rationals", "radius.face", "radius.region"),
    ),
    # Narrower intervals.
    "E41": Equation(
        "where l0 + <v, delta> <= 0: z_r <= z_r(0) - mu l0 + H_R(w_r - mu v) for every mu >= 0",
        "derived",
        _at(
            "certificate.fixed",
            "certificate.floats",
            "certificate.rationals",
            "radius.ball",
            "radius.region",
        ),
    ),
    "E42": Equation(
        "where Q <= 0, F = inf Q at delta*: |z_r - z_r(delta*)| <= sqrt(-F w_r^T H^-1 w_r), "
        "H = lambda I - W_N^T D W_N",
        "derived",
        _at("certificate.floats", "certificate.rationals", "radius.parabola"),
    ),
}
