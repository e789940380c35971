//! One member as bytes: what a checkpoint's file holds of it, and what travels between processes.
//!
//! A safetensors file with the parameters under their names, and in its metadata the digest of the record and one of the
//! values; equal members are equal bytes.

use std::collections::HashMap;
use std::sync::Arc;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{hex, Layout, Member, Packed, Values};
use crate::error::{Error, Result};

/// Under what name a file holds an object.
const OBJECT: &str = "object";

/// What stands in the metadata of a member's file, as one JSON text so that equal members give equal bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) member: u64,
    pub(crate) manifest: String,
    values: String,
    /// `null` of a member whose training diverged.
    loss: Option<f32>,
    /// Whether it had too few samples to be trained.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    idle: bool,
}

/// The key of [`Header`] in the metadata.
pub(crate) const HEADER: &str = "certssb";

impl Header {
    /// The member that it speaks of, whose values nobody has.
    pub(super) fn forgotten(&self, n_values: usize) -> Member {
        let learned_nothing = if self.idle { f32::INFINITY } else { f32::NAN };
        let values = Values::forgotten(self.values.clone(), n_values);
        Member { number: self.member, values, loss: self.loss.unwrap_or(learned_nothing) }
    }
}

/// The bytes are whole, and of another record.
#[derive(Debug)]
pub(crate) struct Foreign;

/// The bytes of a member of the record with this digest.
///
/// # Errors
/// None in practice but those of a learner that cannot write an object.
pub(crate) fn encode(record: &str, layout: &Layout, member: &Member) -> Result<Vec<u8>> {
    let header = header_text(record, member)?;
    let metadata = HashMap::from([(HEADER.to_owned(), header)]);
    let values = member.values.here()?;
    let data = values.bytes()?;
    let mut tensors = Vec::new();
    if values.object().is_some() {
        let view = TensorView::new(Dtype::U8, vec![data.len()], &data);
        tensors.push((OBJECT, view.map_err(unwritable)?));
    }
    for (spec, range) in layout.ranges() {
        let part = data.get(4 * range.start..4 * range.end).unwrap_or_default();
        let view = TensorView::new(Dtype::F32, spec.shape.clone(), part);
        tensors.push((spec.name.as_str(), view.map_err(unwritable)?));
    }
    safetensors::serialize(tensors, Some(metadata)).map_err(unwritable)
}

fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::checkpoint(format!("A member cannot be written: {error}."))
}

/// The member of these bytes; `None` if they are truncated or damaged. A caller who expects a certain number compares it.
///
/// # Errors
/// If they are whole, and of a member of another record.
pub(crate) fn decode(
    bytes: &[u8],
    record: &str,
    layout: &Layout,
) -> std::result::Result<Option<Member>, Foreign> {
    let Some((header, values)) = parse(bytes, layout) else { return Ok(None) };
    if !matches!(digest_values(&values), Ok(digest) if digest == header.values) {
        return Ok(None);
    }
    checked(&header, values, record)
}

/// The member of these bytes, which are its values alone; `None` if they are damaged.
///
/// # Errors
/// If they are whole, and of a member of another record.
pub(super) fn unpack(
    header: &Header,
    data: &[u8],
    record: &str,
    layout: &Layout,
) -> std::result::Result<Option<Member>, Foreign> {
    if hex(&Sha256::digest(data)) != header.values {
        return Ok(None);
    }
    let values = if !layout.specs().is_empty() {
        data.chunks_exact(4).map(four).collect::<Vec<f32>>().into()
    } else if data.is_empty() {
        // A member whose training diverged is no object.
        Vec::new().into()
    } else {
        Values::of_object(Arc::new(Packed(data.into())))
    };
    checked(header, values, record)
}

/// A member whose values are those that its header says.
fn checked(header: &Header, values: Values, record: &str) -> std::result::Result<Option<Member>, Foreign> {
    if header.manifest != record {
        return Err(Foreign);
    }
    // Of a member whose training diverged no values are kept: a mark beside values is damage.
    if header.loss.is_none() && (values.object().is_some() || values.iter().any(|value| *value != 0.0)) {
        return Ok(None);
    }
    let learned_nothing = if header.idle { f32::INFINITY } else { f32::NAN };
    Ok(Some(Member { number: header.member, values, loss: header.loss.unwrap_or(learned_nothing) }))
}

fn four(bytes: &[u8]) -> f32 {
    bytes.try_into().map_or(f32::NAN, f32::from_le_bytes)
}

/// What the bytes say beside the values.
///
/// # Errors
/// Those of a learner that cannot write an object.
pub(crate) fn header_text(manifest: &str, member: &Member) -> Result<String> {
    serde_json::to_string(&header_of(manifest, member)?).map_err(|error| Error::checkpoint(error.to_string()))
}

/// The same as values.
///
/// # Errors
/// Those of a learner that cannot write an object.
pub(super) fn header_of(manifest: &str, member: &Member) -> Result<Header> {
    Ok(Header {
        member: member.number,
        manifest: manifest.to_owned(),
        values: digest_values(&member.values)?,
        loss: (!member.is_failed()).then_some(member.loss),
        idle: member.is_idle(),
    })
}

/// A digest of everything that a member's file says.
pub(crate) fn member_digest(manifest: &str, member: &Member) -> Result<String> {
    Ok(hex(&Sha256::digest(header_text(manifest, member)?)))
}

fn digest_values(values: &Values) -> Result<String> {
    if let Some(digest) = values.digest_of_forgotten() {
        return Ok(digest.to_owned());
    }
    Ok(hex(&Sha256::digest(values.bytes()?)))
}

/// Header and values of a member's file; `None` if it is not whole or has other parameters.
fn parse(bytes: &[u8], layout: &Layout) -> Option<(Header, Values)> {
    // Before anything is reserved.
    if bytes.len() / 4 < layout.n_values() {
        return None;
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let header = serde_json::from_str(metadata.metadata().as_ref()?.get(HEADER)?).ok()?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    if layout.specs().is_empty() {
        // A member whose training diverged is no object.
        let object = file.tensor(OBJECT).ok().map(|view| Arc::new(Packed(view.data().into())));
        return Some((header, object.map_or_else(|| Vec::new().into(), |object| Values::of_object(object))));
    }
    let mut values = Vec::with_capacity(layout.n_values());
    for (spec, _) in layout.ranges() {
        let view = file.tensor(&spec.name).ok()?;
        if view.dtype() != Dtype::F32 || view.shape() != spec.shape {
            return None;
        }
        values.extend(view.data().chunks_exact(4).map(four));
    }
    Some((header, values.into()))
}
