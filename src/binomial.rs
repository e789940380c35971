//! Probabilities of the binomial distribution, accurate where factorials are not.

/// P(X = k) by Loader's saddle-point form (2000), accurate where factorials are not.
pub(crate) fn binomial_pmf(k: u64, n: u64, p: f64) -> f64 {
    let (kf, nf) = (k as f64, n as f64);
    if k == 0 {
        return (nf * (-p).ln_1p()).exp();
    }
    if k == n {
        return (nf * p.ln()).exp();
    }
    let rest = nf - kf;
    let log = stirling_error(nf)
        - stirling_error(kf)
        - stirling_error(rest)
        - deviance(kf, nf * p)
        - deviance(rest, nf * (1.0 - p));
    log.exp() * (nf / (std::f64::consts::TAU * kf * rest)).sqrt()
}

/// log(n!) - log(sqrt(2 pi n) (n/e)^n).
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let half_log_tau = 0.5 * std::f64::consts::TAU.ln();
        return libm::lgamma(n + 1.0) - (n + 0.5) * n.ln() + n - half_log_tau;
    }
    let m = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / m) / m) / m) / m) / n
}

/// x log(x/m) + m - x, without cancellation near x = m.
pub(crate) fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() < 0.1 * (x + m) {
        let v = (x - m) / (x + m);
        let mut sum = (x - m) * v;
        let mut power = 2.0 * x * v;
        for j in 1..1000 {
            power *= v * v;
            let next = sum + power / (2 * j + 1) as f64;
            if next == sum {
                break;
            }
            sum = next;
        }
        return sum;
    }
    x * (x / m).ln() + m - x
}
