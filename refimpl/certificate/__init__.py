"""Independent check of a certificate that a robust radius exceeds R (E33, E35, E37, E38).

The adversarial set is a union over targets of {delta : g_i(delta) <= 0 for all i}, with
g_i = sum_k D_ik F_k(x + delta) (E30). A certificate is a tree for each target, which splits at
z_r >= 0 | z_r <= 0 and narrows the intervals of z, with multipliers at each leaf and each narrowing
step. This package knows nothing of the solver: it derives the targets itself, reads W, b, A, c, x
as the exact rational numbers that float64 holds, and shows for every leaf that its part of the
region holds no adversarial point. `floats` and `rationals` say how in either arithmetic.

The region is Omega(R) = {||delta||_p <= R, lo <= x + delta <= hi}, p = 1, 2 or inf: the l2 ball
where there is no box. H_R(v) is the largest <v, delta> in it, R ||v|| in the l2 ball; `region` says
what else it is. Ties, R = inf and the rest stand for points of the box alone.

The minorant of a row
---------------------
Let w >= 0, v = D^T w and gamma = A^T v, so that sum_i w_i g_i = <v, c> + sum_r gamma_r ReLU(z_r),
where z(delta) = W (x + delta) + b. The interval at hand of z_r is z_r(0) -+ H_R(-+w_r), cut by the
bounds of all narrowing steps above the row. On the row's part of the region, as far as these
bounds hold there,

- gamma_r >= 0: gamma_r ReLU(z_r) >= tau_r gamma_r z_r for every tau_r in [0,1];
- gamma_r < 0: gamma_r ReLU(z_r) >= gamma_r (slope_r z_r + offset_r), where the line lies above
  ReLU(z_r): z_r itself where z_r >= 0, 0 where z_r <= 0, by the path or by the interval at hand
  [lo_r, up_r]; else the chord slope_r (z_r - lo_r), slope_r >= up_r / (up_r - lo_r);
- there, if kappa_r = 1 / (4 s_r) > 0, a parabola instead of the chord, since
  (t + s)^2 / (4 s) - t = (t - s)^2 / (4 s) >= 0 and (t + s)^2 / (4 s) >= 0 for all t (E34):
  gamma_r ReLU(z_r) >= -D_r (z_r + s_r)^2 with D_r = |gamma_r| kappa_r. N are these neurons;
- 0 >= -nu_r z_r where the path has z_r >= 0, and 0 >= nu_r z_r where it has z_r <= 0;
- 0 >= lambda (||delta||^2 - R^2), where there is a parabola (p = 2 only);
- there, too, 0 >= sum_j (sigma_j^+ (delta_j - b_j) - sigma_j^- (delta_j + a_j)) for every sigma in
  R^d, where the region has -a <= delta <= b (E40). `sides` takes a good sigma for each inequality
  that is to be shown, so that a certificate has none.

The sum bounds sum_i w_i g_i from below. Without parabolas it is l(delta) = l0 + <l1, delta> with
l1 = W^T q, whose least value on the region is l0 - H_R(-l1) (E38). With parabolas it is

    Q(delta) = l0 + <W^T q, delta> - sum_N D_r (z_r(delta) + s_r)^2 + lambda (||delta||^2 - R^2),

with q = 0 on N, and has a least value on R^d where its Hessian's half, H = lambda I - W_N^T D W_N,
is positive definite. With a box <sigma, delta> - sum_j (sigma_j^+ b_j + sigma_j^- a_j) joins it,
which leaves H as it is. The best sigma lifts the least value on R^d to that in the box.

Why a leaf is proved
--------------------
If the least value of the minorant is positive, some g_i > 0 at each point of the leaf, or the leaf
does not meet the region.

- ties="adversarial": no adversarial point is in the region, and the set is closed, so r > R.
- ties="robust": a least value of 0 with sum_i w_i > 0 is enough too, since sum_i w_i g_i < 0 at
  every strictly adversarial point. None is in the region, which is r >= R: the set is open, and
  R = r can pass. (Where H is singular nothing is proved.)
- R = inf: nothing but the box bounds the region. H_R(-l1) is infinite unless l1_j = 0 exactly
  wherever the box has no end in the direction of -l1_j, chords need intervals with two ends, and
  there is no parabola; without a box no narrowing step either. No adversarial point exists.

Why a step narrows
------------------
At an adversarial point delta of the step's part of the region all g_i <= 0, so its minorant m has
m(delta) <= 0. Where mu m + bound - z_r >= 0 with mu >= 0 on the region (m affine, E41; m quadratic,
E42, on R^d and with a sigma of its own), bound >= z_r(delta); where mu m + z_r - bound >= 0, bound
<= z_r(delta). So all adversarial points of the step's subtree lie within its cuts, and only these
points matter below it. Where a cut contradicts the path, the region or another cut, there is none,
and every row is proved.

Both are least values of one kind: mu m -+ z_r is affine, or a quadratic with mu H for H.
"""

from refimpl.certificate.form import Certificate, CertificateError, Cuts
from refimpl.certificate.verify import verify_certificate

__all__ = ["Certificate", "CertificateError", "Cuts", "verify_certificate"]
