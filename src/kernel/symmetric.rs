//! Products and systems of symmetric matrices in double precision, in blocks between which the work can stop.

use ndarray::linalg::general_mat_mul;
use ndarray::{s, Array2, ArrayView2, ArrayViewMut2};

/// Columns of a symmetric matrix that one product fills; only what lies on and below the diagonal is needed.
const PANEL: usize = 128;

/// Columns of a triangular factor that are found together.
const BLOCK: usize = 48;

/// Adds `scale` A A^T to the lower triangle of a symmetric matrix; what is above it is left in no particular state.
pub(super) fn add_products(
    scale: f64,
    a: ArrayView2<'_, f64>,
    mut c: ArrayViewMut2<'_, f64>,
    goes_on: &impl Fn() -> bool,
) -> Option<()> {
    let n = c.nrows();
    for start in (0..n).step_by(PANEL) {
        if !goes_on() {
            return None;
        }
        let end = n.min(start + PANEL);
        let mut panel = c.slice_mut(s![start.., start..end]);
        general_mat_mul(scale, &a.slice(s![start.., ..]), &a.slice(s![start..end, ..]).t(), 1.0, &mut panel);
    }
    Some(())
}

/// Replaces each row of `sides` (K, n) by the solution of `matrix` x = row, by NaN if the matrix is not positive definite;
/// of the symmetric matrix (n, n) the lower triangle counts.
pub(super) fn solve(
    mut matrix: Array2<f64>,
    sides: &mut Array2<f64>,
    goes_on: &impl Fn() -> bool,
) -> Option<()> {
    if !factorise(&mut matrix, goes_on)? {
        sides.fill(f64::NAN);
        return Some(());
    }
    let n = matrix.nrows();
    let block = |start: usize| s![start..n.min(start + BLOCK), start..n.min(start + BLOCK)];
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let (known, mut own) = sides.multi_slice_mut((s![.., ..start], s![.., start..end]));
        general_mat_mul(-1.0, &known, &matrix.slice(s![start..end, ..start]).t(), 1.0, &mut own);
        divide(matrix.slice(block(start)), own);
    }
    for start in (0..n).step_by(BLOCK).rev() {
        let end = n.min(start + BLOCK);
        let (mut own, known) = sides.multi_slice_mut((s![.., start..end], s![.., end..]));
        general_mat_mul(-1.0, &known, &matrix.slice(s![end.., start..end]), 1.0, &mut own);
        let factor = matrix.slice(block(start));
        for mut row in own.rows_mut() {
            for j in (0..end - start).rev() {
                let value = row[j] / factor[[j, j]];
                row[j] = value;
                row.slice_mut(s![..j]).scaled_add(-value, &factor.slice(s![j, ..j]));
            }
        }
    }
    Some(())
}

/// Turns the lower triangle of a symmetric matrix into its Cholesky factor, block of columns after block; whether the
/// matrix is positive definite.
fn factorise(matrix: &mut Array2<f64>, goes_on: &impl Fn() -> bool) -> Option<bool> {
    let n = matrix.nrows();
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let (mut own, mut below, rest) =
            matrix.multi_slice_mut((s![start..end, start..end], s![end.., start..end], s![end.., end..]));
        if !factorise_block(&mut own) {
            return Some(false);
        }
        divide(own.view(), below.view_mut());
        add_products(-1.0, below.view(), rest, goes_on)?;
    }
    Some(true)
}

fn factorise_block(block: &mut ArrayViewMut2<'_, f64>) -> bool {
    for j in 0..block.nrows() {
        let (above, mut row) = block.multi_slice_mut((s![..j, ..j], s![j, ..=j]));
        for k in 0..j {
            let known = row.slice(s![..k]).dot(&above.slice(s![k, ..k]));
            row[k] = (row[k] - known) / above[[k, k]];
        }
        let own = row.slice(s![..j]);
        let pivot = row[j] - own.dot(&own);
        if pivot.is_nan() || pivot <= 0.0 {
            return false;
        }
        row[j] = pivot.sqrt();
    }
    true
}

/// Replaces each of `rows` (m, n) by the x for which x `factor`^T is that row; `factor` (n, n) is a lower triangle.
fn divide(factor: ArrayView2<'_, f64>, mut rows: ArrayViewMut2<'_, f64>) {
    for mut row in rows.rows_mut() {
        for j in 0..row.len() {
            let known = row.slice(s![..j]).dot(&factor.slice(s![j, ..j]));
            row[j] = (row[j] - known) / factor[[j, j]];
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_that_is_not_positive_definite_leaves_no_numbers() {
        for n in [2, 130] {
            for last in [0.0, -1.0, f64::NAN] {
                let mut matrix = Array2::<f64>::eye(n);
                matrix[[n - 1, n - 1]] = last;
                let mut sides = Array2::ones((2, n));
                solve(matrix, &mut sides, &|| true).unwrap();
                assert!(sides.iter().all(|value| value.is_nan()), "{n} {last}");
            }
        }
    }
}
