"""The equations of the package: tag, what it is, where it comes from.

A line of code that computes an equation carries its tag in a comment, ``# (E12)``, so that
``grep -rn '(E12)' refimpl`` finds it. "Paper" is Li, Pan, Lyu and Li, *Feature Averaging: An
Implicit Bias of Gradient Descent Leading to Non-Robustness in Neural Networks*, ICLR 2025,
arXiv:2410.10322; "derived" statements are this package's own; `proofs_numeric` holds the evidence.
"""

from __future__ import annotations

EQUATIONS: dict[str, tuple[str, str]] = {
    "E1": ("x = mu_j + xi, xi ~ N(0, noise_std^2 I), j uniform, y = +1 on J+", "paper, Def. 3.1"),
    "E2": ("||mu_j|| = sqrt(d), mutually orthogonal", "paper, Assumption 3.2"),
    "E3": ("1/r <= |J+|/|J-| <= r", "paper, Assumption 3.3"),
    "E4": ("F(x) = A ReLU(W x + b) + c", "paper, section 3.2"),
    "E5": ("binary network: A = [1/m .., -1/m ..], c = 0", "paper, section 3.2"),
    "E6": ("multi-class network: F_j = (1/h) sum_r ReLU(<w_{j,r}, x>)", "paper, section 3.2"),
    "E7": ("small Gaussian initialisation", "paper, section 3.2"),
    "E8": ("logistic loss", "paper, section 3.2"),
    "E9": ("dL/df_i = -(y_i/n) sigmoid(-y_i f_i)", "derived"),
    "E10": ("cross-entropy, dL/dF = (softmax - onehot)/n", "paper, section 3.2; gradient derived"),
    "E11": ("dL/dW = G^T X, dL/db = sum_i G_i, G = (dL/dF A) * 1[Z > 0]", "derived"),
    "E12": ("input gradient W^T (1[z > 0] * A^T v)", "derived"),
    "E13": ("gradient descent, constant step", "paper, section 3.2"),
    "E14": ("the same in coefficients: W(t) = W(0) + C(t)^T X, Gram matrix X X^T", "derived"),
    "E15": ("weight decomposition into lambda (features) and sigma (noise)", "paper"),
    "E16": ("signs and sizes of the coefficients' increments", "derived"),
    "E17": ("f_FA(x) = ReLU(<v+, x>) - ReLU(<v-, x>)", "paper, Figure 1"),
    "E18": ("f_FD: F_j(x) = ReLU(<mu_j, x> + b)", "paper, Figure 1"),
    "E19": ("radius of f_FA at a centre: sqrt(d/k)", "order: paper, abstract; constant derived"),
    "E20": ("radius of f_FD, group_max, at a centre", "order: paper, abstract; constant derived"),
    "E21": ("radius of f_FD, group_sum, at a centre", "derived"),
    "E22": ("radius of f_FA at any sample", "derived"),
    "E23": ("law of the radius of f_FA on noisy samples", "derived"),
    "E24": ("law of the radius of f_FD, group_max", "derived"),
    "E25": ("law of the radius of f_FD, group_sum, leading order", "derived"),
    "E26": ("x' = x - eps y v/||v||, v = v+ - v-", "paper, abstract: negative averaged features"),
    "E27": ("smallest adversarial step along a ray", "derived"),
    "E28": ("linear-region step -f grad f/||grad f||^2", "one DeepFool step; derived"),
    "E29": ("r(x) = inf{||delta||: x + delta adversarial}", "definition"),
    "E30": ("adversarial set = union over targets of {g_i <= 0 for all i}", "derived"),
    "E31": ("radius as min over pieces S of a max over tau", "derived"),
    "E32": ("lower <= r <= upper, and the status", "definition"),
    "E33": ("certificate that r > R: a tree of affine minorants", "derived"),
}
