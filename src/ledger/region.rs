//! What a ledger holds: regions, and the record of every update that asked for one.

use std::fmt;

/// How an update was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No stored region contradicts the new one: it is stored as it was asked for.
    Kept,
    /// Smaller than asked for, so that it only touches a stored region of another class.
    Trimmed,
    /// The centre lies inside a stored region of another class, whose class it takes.
    Adopted,
    /// Nothing is claimed: the update is recorded, no region is stored.
    Abstained,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Trimmed, Self::Adopted, Self::Abstained];

    /// The outcome's name, in lower case, as files and Python have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Trimmed => "trimmed",
            Self::Adopted => "adopted",
            Self::Abstained => "abstained",
        }
    }

    /// The outcome of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The answer to one update: what may be claimed around the centre from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Place in the order of arrival, counted from 0 over all updates of the file.
    pub number: u64,
    /// The class; the adopted one where the outcome says so, else the one asked for.
    pub prediction: u32,
    /// L2, in the units of x; every input closer to the centre has this class. 0 where nothing is claimed.
    pub radius: f64,
    /// How the update was settled.
    pub outcome: Outcome,
    /// Number of the entry whose region made the update trim, adopt or abstain.
    pub cause: Option<u64>,
}

/// What an update asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// The class.
    pub prediction: u32,
    /// L2, in the units of x; 0 asks for nothing (a certificate that abstained).
    pub radius: f64,
}

/// One line of the ledger: what was asked for, around which centre, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The centre, shape (dimension,).
    pub centre: Vec<f32>,
    /// What was asked for.
    pub asked: Asked,
    /// What came of it.
    pub entry: Entry,
}

/// What the ledger already claims at an input: see [`Ledger::query`](crate::Ledger::query).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Number of the entry whose region contains the input; of several the one that contains it deepest.
    pub number: u64,
    /// The class of that region.
    pub prediction: u32,
    /// L2, in the units of x; every input closer than this lies in the same region.
    pub radius: f64,
}

/// What [`Ledger::verify`](crate::Ledger::verify) found in a ledger without fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of updates, abstentions included.
    pub updates: u64,
    /// Number of regions.
    pub regions: u64,
    /// Number of updates that were kept, trimmed, adopted and abstained, in this order.
    pub outcomes: [u64; 4],
}

impl Report {
    /// Number of updates with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        Outcome::ALL.iter().zip(self.outcomes).find(|(o, _)| **o == outcome).map_or(0, |(_, n)| n)
    }

    /// Counts one entry.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.updates += 1;
        self.regions += u64::from(entry.radius > 0.0);
        for (outcome, count) in Outcome::ALL.iter().zip(&mut self.outcomes) {
            *count += u64::from(*outcome == entry.outcome);
        }
    }
}
