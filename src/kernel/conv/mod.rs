//! Convolution, ReLU and 2x2 max pooling as one operation, and its gradient along the places that pooling chose.
//!
//! Images lie as (height, width, channels), with the border of zeros that the convolution adds. Then a patch of k x k
//! places is k runs of k * channels numbers, whatever the number of channels.

mod backward;
mod forward;

pub(super) use backward::{Backward, Scratch};
pub(super) use forward::Forward;

/// Numbers behind a batch of images that kernels may read past the last run and ignore.
pub(super) const SLACK: usize = 64;

/// The place of an output whose ReLU is off.
pub(super) const OFF: u32 = u32::MAX;

/// Sizes of a block: convolution with stride 1, ReLU, 2x2 max pooling. Odd rows and columns at the end are dropped.
/// Its values are the weight (outputs, channels, kernel, kernel) and then the bias (outputs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PooledConv {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// A multiple of 16.
    pub(super) outputs: usize,
    /// 3 or 5.
    pub(super) kernel: usize,
    pub(super) padding: usize,
}

/// Where a block's results go in the next buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Numbers of one sample.
    pub(super) len: usize,
    /// The first result.
    pub(super) start: usize,
    /// From row to row.
    pub(super) stride: usize,
}

impl PooledConv {
    pub(super) fn n_values(self) -> usize {
        self.n_weights() + self.outputs
    }

    fn n_weights(self) -> usize {
        self.outputs * self.taps()
    }

    pub(super) fn taps(self) -> usize {
        self.kernel * self.run()
    }

    /// Numbers of a patch that lie one after another.
    pub(super) fn run(self) -> usize {
        self.kernel * self.channels
    }

    /// From row to row of the padded image.
    pub(super) fn stride(self) -> usize {
        (self.width + 2 * self.padding) * self.channels
    }

    /// Numbers of a padded image.
    pub(super) fn input_len(self) -> usize {
        (self.height + 2 * self.padding) * self.stride()
    }

    /// Height and width after pooling.
    pub(super) fn pooled(self) -> (usize, usize) {
        let after = |n: usize| (n + 2 * self.padding + 1 - self.kernel) / 2;
        (after(self.height), after(self.width))
    }

    /// Results of one sample.
    pub(super) fn output_len(self) -> usize {
        let (height, width) = self.pooled();
        height * width * self.outputs
    }

    /// The results of the block before, inside this block's border.
    pub(super) fn as_target(self) -> Target {
        let start = self.padding * (self.stride() + self.channels);
        Target { len: self.input_len(), start, stride: self.stride() }
    }

    /// Results one after another.
    pub(super) fn last_target(self) -> Target {
        Target { len: self.output_len(), start: 0, stride: self.pooled().1 * self.outputs }
    }

    /// Position of tap (run, place in the run) in an output's weights, which lie channel by channel.
    pub(super) fn tap(self, run: usize, place: usize) -> usize {
        let (x, channel) = (place / self.channels, place % self.channels);
        (channel * self.kernel + run) * self.kernel + x
    }

    /// Puts an image (channels, height, width) inside the border of `padded`.
    pub(super) fn place(self, image: &[f32], padded: &mut [f32]) {
        let Target { start, stride, .. } = self.as_target();
        let rows = image.chunks_exact(self.width);
        for (number, row) in rows.enumerate() {
            let (channel, y) = (number / self.height, number % self.height);
            let target = &mut padded[start + y * stride..][..self.width * self.channels];
            if self.channels == 1 {
                target.copy_from_slice(row);
            } else {
                let places = target.iter_mut().skip(channel).step_by(self.channels);
                places.zip(row).for_each(|(place, value)| *place = *value);
            }
        }
    }
}
