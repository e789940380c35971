//! Where memory lies: freed memory stays for the next step, and what outlives its training lies apart from it.

use std::any::Any;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};

use crate::error::{Error, Result};
use crate::size::physical;

/// Raises glibc's dynamic thresholds for mmap and trimming to their maximum, once per process.
///
/// Freeing one block just below 32 MiB does it (see `M_MMAP_THRESHOLD` in mallopt(3)). The activations of
/// a training step lie above the initial 128 KiB, so that without this every step maps and unmaps them:
/// 3,200 page faults and half of the time of a step of the MNIST network. Elsewhere than on glibc this
/// does nothing.
pub(crate) fn keep_freed_memory() {
    // No `Once`: a forked child would wait for a thread of its parent's that was in it.
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        drop(std::hint::black_box(vec![0_u8; (32 << 20) - (64 << 10)]));
    }
}

/// Bytes that a member takes beside its values: its number, its place in the map of members and in lists of them.
const BESIDE: u64 = 256;

/// Refuses more members than the memory of this machine can hold; where its size is not known, none.
///
/// # Errors
/// A parameter error that says how many there is room for.
pub(crate) fn check_members(n_members: u64, n_values: usize) -> Result<()> {
    let Some(memory) = physical() else { return Ok(()) };
    let most = memory / (n_values as u64).saturating_mul(4).saturating_add(BESIDE);
    if n_members <= most {
        return Ok(());
    }
    let expected = format_args!(
        "at most {most}: members of this model have {n_values} values each, and this machine has {:.1} GB of memory",
        memory as f64 / 1e9
    );
    Err(Error::parameter("n_members", expected, n_members))
}

/// Values that fewer bytes than these leave on the heap: a mapping costs whole pages, and processes have few of them.
const MAPPED: usize = 1 << 20;

/// A member that is no numbers: whoever computed it knows what it is.
pub trait Object: Any + Send + Sync {
    /// What a file holds of it; the same bytes whenever it is asked.
    ///
    /// # Errors
    /// A checkpoint error if it cannot be written.
    fn bytes(&self) -> Result<Arc<[u8]>>;

    /// Whether another one answers alike, bit for bit.
    ///
    /// # Errors
    /// If one of them cannot be asked.
    fn is_same(&self, other: &dyn Object) -> Result<bool>;

    /// As what it is.
    fn as_any(&self) -> &dyn Any;
}

/// An object as a file held it, which nobody has read yet.
pub(crate) struct Packed(pub(crate) Arc<[u8]>);

impl Object for Packed {
    fn bytes(&self) -> Result<Arc<[u8]>> {
        Ok(Arc::clone(&self.0))
    }

    fn is_same(&self, other: &dyn Object) -> Result<bool> {
        Ok(other.bytes()? == self.0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The values of a trained member, shared by its clones.
///
/// Large ones lie in a mapping of their own. On the heap, between the activations of training steps that came and
/// went, they leave holes that no later step fits in: 2 to 3 MiB a member of 6 MiB were measured.
#[derive(Clone)]
pub struct Values(Arc<Place>);

enum Place {
    Heap(Box<[f32]>),
    Object(Arc<dyn Object>),
    Mapped(Mmap),
    /// Nowhere in memory: read when they are asked for.
    Kept {
        source: Arc<dyn Source>,
        number: u64,
        n_values: usize,
    },
    /// Nowhere: forgotten when the member had voted.
    Forgotten {
        digest: String,
        n_values: usize,
    },
}

/// What members that were forgotten are not asked.
pub(crate) fn forgotten() -> Error {
    let expected = "'memory' or 'disk' for this: with members='votes' only the votes on the samples of \
                    fit(..., vote_on=...) are left, which say nothing about other samples or about scores";
    Error::parameter("members", expected, "'votes'")
}

/// Who has values of members that are not in memory.
pub(crate) trait Source: std::fmt::Debug + Send + Sync {
    /// The values of a member.
    ///
    /// # Errors
    /// A checkpoint error if they cannot be had.
    fn fetch(&self, number: u64) -> Result<Values>;
}

impl Values {
    /// A member that is an object of whoever computed it; it has no numbers.
    pub fn of_object(object: Arc<dyn Object>) -> Self {
        Self(Arc::new(Place::Object(object)))
    }

    /// The object, if the member is one.
    pub fn object(&self) -> Option<&Arc<dyn Object>> {
        match &*self.0 {
            Place::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Values that `source` has.
    pub(crate) fn kept(source: Arc<dyn Source>, number: u64, n_values: usize) -> Self {
        Self(Arc::new(Place::Kept { source, number, n_values }))
    }

    /// What is left of values that nobody has any more: a digest of them.
    pub(crate) fn forgotten(digest: String, n_values: usize) -> Self {
        Self(Arc::new(Place::Forgotten { digest, n_values }))
    }

    /// The digest of values that nobody has any more.
    pub fn digest_of_forgotten(&self) -> Option<&str> {
        match &*self.0 {
            Place::Forgotten { digest, .. } => Some(digest),
            _ => None,
        }
    }

    /// Whether they are in memory.
    pub fn are_here(&self) -> bool {
        !matches!(&*self.0, Place::Kept { .. } | Place::Forgotten { .. })
    }

    /// Whether they are read when they are asked for; as a slice they are empty then, and [`Values::here`] has them.
    pub fn are_kept(&self) -> bool {
        matches!(&*self.0, Place::Kept { .. })
    }

    /// These values in memory, until they are dropped.
    ///
    /// # Errors
    /// A checkpoint error if they were kept in a directory that has them no more.
    pub fn here(&self) -> Result<Self> {
        match &*self.0 {
            Place::Kept { source, number, .. } => source.fetch(*number),
            Place::Forgotten { .. } => Err(forgotten()),
            _ => Ok(self.clone()),
        }
    }

    /// How many there are, wherever they are; none of an object.
    pub fn len(&self) -> usize {
        match &*self.0 {
            Place::Kept { n_values, .. } | Place::Forgotten { n_values, .. } => *n_values,
            _ => (**self).len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a file holds of them.
    ///
    /// # Errors
    /// A checkpoint error of an object that cannot be written, or of values that are gone.
    pub(crate) fn bytes(&self) -> Result<Arc<[u8]>> {
        if !self.are_here() {
            return self.here()?.bytes();
        }
        match self.object() {
            Some(object) => object.bytes(),
            None => Ok(self.iter().flat_map(|value| value.to_le_bytes()).collect()),
        }
    }

    /// Whether others are the same, bit for bit; objects are compared by what they answer.
    ///
    /// # Errors
    /// Of objects that cannot be asked.
    pub(crate) fn is_same(&self, other: &Self) -> Result<bool> {
        if !(self.are_here() && other.are_here()) {
            return self.here()?.is_same(&other.here()?);
        }
        match (self.object(), other.object()) {
            (Some(one), Some(another)) => one.is_same(another.as_ref()),
            (None, None) => {
                let bits = |values: &Self| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                Ok(bits(self) == bits(other))
            }
            _ => Ok(false),
        }
    }

    fn mapped(values: &[f32]) -> Option<Mmap> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if bytes.len() < MAPPED {
            return None;
        }
        let mut map = MmapMut::map_anon(bytes.len()).ok()?;
        map.copy_from_slice(bytes);
        map.make_read_only().ok()
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        let mapped = Self::mapped(&values).map(Place::Mapped);
        Self(Arc::new(mapped.unwrap_or_else(|| Place::Heap(values.into_boxed_slice()))))
    }
}

impl From<&[f32]> for Values {
    fn from(values: &[f32]) -> Self {
        let mapped = Self::mapped(values).map(Place::Mapped);
        Self(Arc::new(mapped.unwrap_or_else(|| Place::Heap(values.into()))))
    }
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.0 {
            Place::Heap(values) => values,
            Place::Object(_) | Place::Kept { .. } | Place::Forgotten { .. } => &[],
            Place::Mapped(map) => bytemuck::cast_slice(map),
        }
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        match (&*self.0, &*other.0) {
            (Place::Object(one), Place::Object(another)) => Arc::ptr_eq(one, another),
            (Place::Forgotten { digest: one, .. }, Place::Forgotten { digest: another, .. }) => {
                one == another
            }
            (Place::Forgotten { .. }, _) | (_, Place::Forgotten { .. }) => false,
            (Place::Kept { .. }, _) | (_, Place::Kept { .. }) => {
                Arc::ptr_eq(&self.0, &other.0) || self.is_same(other).unwrap_or(false)
            }
            (Place::Object(_), _) | (_, Place::Object(_)) => false,
            _ => **self == **other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn members_that_no_memory_holds_are_refused_with_the_number_that_fits() -> Result<()> {
        check_members(1000, 100_000)?;
        let said = check_members(1 << 50, 0).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains("'n_members' parameter must be at most"), "{said}");
        assert!(check_members(2, usize::MAX).is_err());
        Ok(())
    }

    #[test]
    fn small_and_large_values_read_the_same() {
        for n in [0, 1, MAPPED / 4 - 1, MAPPED / 4, MAPPED / 4 + 1] {
            let plain: Vec<f32> = (0..n).map(|i| i as f32 - 3.0).collect();
            let values = Values::from(plain.clone());
            assert_eq!(*values, *plain);
            assert!(values == Values::from(&plain[..]) && values.clone() == values);
            assert_eq!(matches!(*values.0, Place::Mapped(_)), 4 * n >= MAPPED);
        }
    }
}
