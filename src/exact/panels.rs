//! Quadrature up to a distance of its own for each test point, on nodes that all test points share.
//!
//! Trusted training points have no noise: the nearest of them lies at a distance `c` that nothing random moves, and the nearest
//! noised point counts only if it is nearer. Probabilities are integrals from 0 to `c` then, for which the trapezoidal rule,
//! whose accuracy comes from integrands that fade at both ends, is no good. Blocks are cut into panels with Gauss-Legendre
//! nodes instead. The panel that holds `c` is integrated up to it by way of the polynomial through the same nodes,
//!
//! ```text
//! integral from -1 to x of f  =  sum over k of f(x_k) w_k/2 sum over j < n of P_j(x_k) (P_(j+1)(x) - P_(j-1)(x)),
//! ```
//!
//! so that tables (`table.rs`) need to know nothing of `c`.

use std::sync::OnceLock;

use super::noncentral::{legendre, GaussLegendre};
use super::table::{distance_at, Nodes};

/// Nodes of a panel.
const NODES: usize = 16;

/// Nodes and weights of one panel on [-1, 1], and Legendre's polynomials up to the order `NODES` at the nodes.
struct Rule {
    nodes: Vec<(f64, f64)>,
    /// `polynomials[k][j]` is P_j at node k.
    polynomials: Vec<[f64; NODES]>,
}

fn rule() -> &'static Rule {
    static RULE: OnceLock<Rule> = OnceLock::new();
    RULE.get_or_init(|| {
        let mut nodes = GaussLegendre::new(NODES).nodes().to_vec();
        nodes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let polynomials = nodes.iter().map(|(x, _)| std::array::from_fn(|j| legendre(j, *x).0)).collect();
        Rule { nodes, polynomials }
    })
}

/// The nodes of a block that is cut into 2^level panels, ascending.
pub(crate) fn nodes(level: u32, block: i64) -> Nodes {
    let panels = 1_usize << level;
    let width = 1.0 / panels as f64;
    let place = |panel: usize, x: f64| block as f64 + width * (panel as f64 + 0.5 * (1.0 + x));
    let all = (0..panels).flat_map(|panel| rule().nodes.iter().map(move |(x, w)| (panel, *x, *w)));
    let (distances, weights) = all
        .map(|(panel, x, w)| {
            let t = place(panel, x);
            (distance_at(t), 0.5 * width * w / (1.0 + (-t).exp()))
        })
        .unzip();
    Nodes { distances, weights }
}

/// A distance at which integration ends, as the nodes of its block see it.
pub(crate) struct Cut {
    /// What each node's weight is multiplied by.
    pub(crate) share: Vec<f64>,
    /// By which the values at the nodes are multiplied to give the value at the end itself.
    pub(crate) value: Vec<f64>,
}

impl Cut {
    /// The end `t` of the integration variable, in `block`.
    pub(crate) fn new(level: u32, block: i64, t: f64) -> Self {
        let panels = 1_usize << level;
        let place = ((t - block as f64) * panels as f64).clamp(0.0, panels as f64);
        let panel = (place.floor() as usize).min(panels - 1);
        let x = (2.0 * (place - panel as f64) - 1.0).clamp(-1.0, 1.0);
        let rule = rule();
        let at: Vec<f64> = (0..=NODES).map(|j| legendre(j, x).0).collect();
        let before = |j: usize| if j == 0 { -1.0 } else { at[j - 1] };
        let sum = |k: usize, term: &dyn Fn(usize) -> f64| -> f64 {
            (0..NODES).map(|j| rule.polynomials[k][j] * term(j)).sum()
        };
        let (mut share, mut value) = (vec![0.0; panels * NODES], vec![0.0; panels * NODES]);
        share[..panel * NODES].fill(1.0);
        for (k, (_, w)) in rule.nodes.iter().enumerate() {
            share[panel * NODES + k] = 0.5 * sum(k, &|j| at[j + 1] - before(j));
            value[panel * NODES + k] = 0.5 * w * sum(k, &|j| (2 * j + 1) as f64 * at[j]);
        }
        Self { share, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_functions_are_integrated_up_to_any_end_and_known_there() {
        // In the distance r: integral of e^-r is 1 - e^-r.
        for level in [0, 1, 3] {
            for t in [-1.0, -0.73, -0.5, -0.25, -1e-9, 0.0, 0.4, 0.999, 1.3, 1.999_999, 2.0] {
                let last = (f64::floor(t) as i64).min(1);
                let mut integral = 1.0 - (-distance_at(-1.0)).exp();
                let (start, mut at_end) = (integral, f64::NAN);
                for block in -1..=last {
                    let nodes = nodes(level, block);
                    let cut = Cut::new(level, block, t);
                    let values = nodes.distances.iter().map(|r| (-r).exp());
                    let whole = block < last;
                    for ((value, weight), share) in values.clone().zip(&nodes.weights).zip(&cut.share) {
                        integral += value * weight * if whole { 1.0 } else { *share };
                    }
                    at_end = values.zip(&cut.value).map(|(value, share)| value * share).sum();
                }
                let exact = 1.0 - (-distance_at(t)).exp();
                assert!((integral - exact).abs() < 1e-13, "{level} {t}: {integral} {exact} from {start}");
                assert!((at_end - (-distance_at(t)).exp()).abs() < 1e-13, "{level} {t}");
            }
        }
    }
}
