//! Which vector instructions run: the widest that the processor has, and in tests each that it has.

use pulp::{Arch, WithSimd};

/// Runs an operation with the widest vectors that the processor has.
#[inline(always)]
pub(crate) fn dispatch<O: WithSimd>(operation: O) -> O::Output {
    #[cfg(test)]
    let arch = CHOSEN.get().unwrap_or_default();
    #[cfg(not(test))]
    let arch = Arch::new();
    arch.dispatch(operation)
}

/// What the widest vectors of the processor are called.
#[cfg(feature = "training")]
pub(crate) fn name() -> String {
    format!("{:?}", Arch::new()).split(['(', ' ']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
std::thread_local! {
    static CHOSEN: std::cell::Cell<Option<Arch>> = const { std::cell::Cell::new(None) };
}

/// Runs a test with each set of instructions that this processor has, from none to the widest.
#[cfg(test)]
pub(crate) fn with_each(mut test: impl FnMut(&str)) {
    let mut sets = vec![("scalar", Arch::Scalar)];
    #[cfg(target_arch = "x86_64")]
    sets.extend(pulp::x86::V3::try_new().map(|simd| ("AVX2", Arch::V3(simd))));
    sets.push(("widest", Arch::new()));
    for (name, arch) in sets {
        CHOSEN.set(Some(arch));
        test(name);
    }
    CHOSEN.set(None);
}
