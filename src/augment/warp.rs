//! Images at places between their pixels, and the maps that say which places.

use super::Frame;

/// A value of an image: `f32` or `f64`.
pub trait Pixel: Copy + Send + Sync + 'static {
    /// The value nearest to a number.
    fn of(value: f64) -> Self;

    /// (1 - t) a + t b; a itself where t = 0. Cannot overflow.
    fn mix(a: Self, b: Self, t: f64) -> Self;
}

impl Pixel for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn mix(a: Self, b: Self, t: f64) -> Self {
        // In double precision, where single ones cannot overflow.
        let mixed = ((1.0 - t) * f64::from(a) + t * f64::from(b)) as Self;
        if t == 0.0 {
            a
        } else {
            mixed
        }
    }
}

impl Pixel for f64 {
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn mix(a: Self, b: Self, t: f64) -> Self {
        let mixed = (1.0 - t) * a + t * b;
        if t == 0.0 {
            a
        } else {
            mixed
        }
    }
}

/// new\[r, c\] = old at `source(r, c)`, bilinear; neighbours outside are `fill`.
#[inline(always)]
pub(super) fn warp<T: Pixel>(
    frame: Frame,
    old: &[T],
    new: &mut [T],
    fill: T,
    source: impl Fn(usize, usize) -> [f64; 2],
) {
    let (height, width) = (frame.height, frame.width);
    for (r, line) in new.chunks_exact_mut(width).enumerate() {
        for (c, value) in line.iter_mut().enumerate() {
            let [y, x] = source(r, c);
            *value = if y > -1.0 && x > -1.0 && y < height as f64 && x < width as f64 {
                at(old, height, width, y, x, fill)
            } else {
                fill
            };
        }
    }
}

#[inline(always)]
fn at<T: Pixel>(old: &[T], height: usize, width: usize, y: f64, x: f64, fill: T) -> T {
    // Both are above -1: one more, and conversion is the floor.
    let (row, column) = ((y + 1.0) as usize, (x + 1.0) as usize);
    let (down, right) = (y + 1.0 - row as f64, x + 1.0 - column as f64);
    if row > 0 && column > 0 && row < height && column < width {
        let first = (row - 1) * width + column - 1;
        let upper = T::mix(old[first], old[first + 1], right);
        let lower = T::mix(old[first + width], old[first + width + 1], right);
        return T::mix(upper, lower, down);
    }
    let value = |row: usize, column: usize| {
        let inside = row > 0 && column > 0 && row <= height && column <= width;
        if inside {
            old[(row - 1) * width + column - 1]
        } else {
            fill
        }
    };
    let upper = T::mix(value(row, column), value(row, column + 1), right);
    let lower = T::mix(value(row + 1, column), value(row + 1, column + 1), right);
    T::mix(upper, lower, down)
}

/// new\[r + down, c + right\] = old\[r, c\].
pub(super) fn shift<T: Pixel>(frame: Frame, old: &[T], new: &mut [T], [down, right]: [i64; 2], fill: T) {
    let (height, width) = (frame.height as i64, frame.width as i64);
    new.fill(fill);
    let (first, last) = (right.clamp(0, width), (width + right).clamp(0, width));
    if first >= last {
        return;
    }
    for row in down.max(0)..(height + down).min(height) {
        let from = (row - down) * width + first - right;
        let (from, to, len) = (from as usize, (row * width + first) as usize, (last - first) as usize);
        new[to..to + len].copy_from_slice(&old[from..from + len]);
    }
}

/// Exchanges the rows, first with last.
pub(super) fn upside_down<T: Pixel>(plane: &mut [T], width: usize) {
    let height = plane.len() / width;
    let (upper, lower) = plane.split_at_mut(height / 2 * width);
    for (above, below) in upper.chunks_exact_mut(width).zip(lower.chunks_exact_mut(width).rev()) {
        above.swap_with_slice(below);
    }
}

/// The way back of an affine map: where the value of a pixel comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    /// Inverse matrix on (down, right).
    inverse: [[f64; 2]; 2],
    shift: [f64; 2],
}

impl Affine {
    /// Degrees, a factor, degrees, pixels.
    ///
    /// In (down, right) the map is R S scale with R = \[\[cos, -sin\], \[sin, cos\]\] (counterclockwise as seen, because rows go
    /// down) and S = \[\[1, 0\], \[tan, 1\]\]: what lies lower is moved to the right.
    pub(super) fn new(angle: f64, scale: f64, shear: f64, shift: [f64; 2]) -> Self {
        let ((sin, cos), (s, c)) = (sin_cos(angle), sin_cos(shear));
        let (tan, factor) = (s / c, 1.0 / scale);
        // S^-1 R^T: rows of R^T are (cos, sin) and (-sin, cos).
        let first = [cos * factor, sin * factor];
        let second = [-sin * factor - tan * first[0], cos * factor - tan * first[1]];
        Self { inverse: [first, second], shift }
    }

    #[inline(always)]
    pub(super) fn source(&self, frame: Frame, row: usize, column: usize) -> [f64; 2] {
        let centre = [(frame.height - 1) as f64 / 2.0, (frame.width - 1) as f64 / 2.0];
        let down = row as f64 - centre[0] - self.shift[0];
        let right = column as f64 - centre[1] - self.shift[1];
        let [[a, b], [c, d]] = self.inverse;
        [centre[0] + (a * down + b * right), centre[1] + (c * down + d * right)]
    }
}

/// Sine and cosine of degrees, exact at multiples of 90; the same on every machine.
fn sin_cos(degrees: f64) -> (f64, f64) {
    let quarters = (degrees / 90.0).round();
    let (sin, cos) = libm::sincos((degrees - 90.0 * quarters).to_radians());
    match (quarters as i64).rem_euclid(4) {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}
