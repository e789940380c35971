//! Numbers that start where a cache line does.

use std::ops::{Deref, DerefMut};

use aligned_vec::{AVec, ConstAlign};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// Numbers that start where a cache line does, so that a vector of them never lies on two lines: loads and stores
/// that do take twice as long.
#[derive(Clone, Debug)]
pub struct Buffer(AVec<f32, ConstAlign<LINE>>);

impl Buffer {
    /// Numbers from one row to the next, for rows of `n` numbers that all start at a line. Short rows lie one after another:
    /// filling up their lines would take more memory than it saves time.
    pub const fn stride(n: usize) -> usize {
        let line = LINE / size_of::<f32>();
        if n < 4 * line {
            n
        } else {
            n.next_multiple_of(line)
        }
    }

    /// Without numbers, but with their room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// New numbers at the end are `value`.
    pub fn resize(&mut self, n: usize, value: f32) {
        self.0.resize(n, value);
    }

    /// One more number.
    pub fn push(&mut self, value: f32) {
        self.0.push(value);
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self(AVec::new(LINE))
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_at_a_line_whatever_their_length() {
        let mut buffer = Buffer::default();
        for n in [1, 5, 64, 1000, 3] {
            buffer.resize(n, 1.0);
            assert_eq!((buffer.as_ptr() as usize % LINE, buffer.len()), (0, n));
        }
        assert_eq!(&buffer.clone()[..], [1.0; 3]);
        assert_eq!([1, 16, 57, 65, 784].map(Buffer::stride), [1, 16, 57, 80, 784]);
    }
}
