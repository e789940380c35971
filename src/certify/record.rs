//! The record behind a table of certificates: everything that its guarantee depends on.

use serde::{Deserialize, Serialize};

use super::confidence::Confidence;
use super::settings::Selection;
use crate::error::{Error, Result};
use crate::law::{DataFacts, Law, NoiseLaw};
use crate::partition::Election;
use crate::quantity::Quantity;

/// Where the intervals come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "evidence", rename_all = "snake_case")]
pub enum Evidence {
    /// Members' votes, bounded at the settings' alpha.
    Members {
        /// Number of members N, read from the votes.
        n_members: usize,
        /// The settings of the bounds.
        confidence: Confidence,
    },
    /// Probabilities known exactly; nothing was sampled.
    Exact,
    /// The answers of a partition's learners; there are no probabilities.
    Election {
        /// Number of learners, read from their answers.
        n_members: usize,
        /// How they elect a class.
        election: Election,
    },
}

/// The record behind a table of certificates: everything that the guarantee depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The law from which the members' noised sets were drawn.
    pub law: Law,
    /// Sizes of the training set; trusted samples are not counted.
    pub facts: DataFacts,
    /// Where the intervals come from.
    pub evidence: Evidence,
    /// What was done to each sample before the noise, if anything, as it stands in the guarantee.
    pub before_noise: Option<String>,
    /// Whether the list of classes was learned from the received labels instead of being known before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub classes_as_received: bool,
    /// Members whose training diverged: they vote for the lowest class.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_failed: usize,
    /// Learners of a partition with too few samples to be trained: each votes for a class that is fixed by its number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_idle: usize,
    /// Members for which no samples were drawn, or fewer than their model needs: they vote for the lowest class.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_empty: usize,
    /// Samples beside those of `facts` that every member saw as they are, and that are assumed unchanged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_trusted: usize,
    /// In a table of selected rows: how many samples the whole one had, among which alpha was divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<usize>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Evidence {
    /// Chance that a statement is wrong; `None` where nothing is left to chance.
    pub fn alpha(&self) -> Option<f64> {
        match self {
            Self::Members { confidence, .. } => Some(confidence.alpha.get()),
            Self::Exact | Self::Election { .. } => None,
        }
    }

    /// Number of members whose votes were counted, if any were.
    pub fn n_members(&self) -> Option<usize> {
        match self {
            Self::Members { n_members, .. } | Self::Election { n_members, .. } => Some(*n_members),
            Self::Exact => None,
        }
    }
}

impl Record {
    /// Refuses what no certification writes; for a record that comes from a file.
    pub(super) fn check(&self) -> Result<()> {
        let DataFacts { n_train, n_features, n_classes } = self.facts;
        let elected = matches!(self.evidence, Evidence::Election { .. });
        if elected != matches!(self.law, Law::Partition(_)) {
            let expected = "an election of a partition's learners, or members of a noise law";
            return Err(Error::parameter("record", expected, self.law.describe()));
        }
        // Learners of a partition may have been trained on a number of samples that nobody told.
        let sizes = [n_train.max(usize::from(elected)), n_features.unwrap_or(1)];
        crate::size::product("record", &sizes)?;
        if self.n_trusted > crate::size::LARGEST {
            return Err(Error::parameter("record", "a number of trusted samples", self.n_trusted));
        }
        if sizes.contains(&0) || !(2..=usize::from(u16::MAX)).contains(&n_classes) {
            let got = format_args!("{n_train} samples of {n_features:?} features in {n_classes} classes");
            return Err(Error::parameter("record", "sizes of a training set", got));
        }
        if let Evidence::Members { n_members, confidence } = &self.evidence {
            let some = confidence.selection == Selection::Union || confidence.choosing() > 0;
            if !some || confidence.choosing() >= *n_members || *n_members > crate::size::LARGEST {
                let got = format_args!("{n_members} members, {} of which choose", confidence.choosing());
                return Err(Error::parameter("record", "members of which some are left to bound", got));
            }
        }
        self.law.check_own()?;
        self.law.check(&self.facts)?;
        self.check_stand_ins()
    }

    /// Members that could not be trained are some of those that there are.
    fn check_stand_ins(&self) -> Result<()> {
        let levels = if let Law::Cascade(cascade) = &self.law { cascade.levels().len() } else { 1 };
        let all = self.evidence.n_members().map_or(0, |members| members.saturating_mul(levels));
        let of_members = self.n_failed.saturating_add(self.n_empty);
        let (members, learners) = match self.evidence {
            Evidence::Members { .. } => (all, 0),
            Evidence::Election { .. } => (0, all),
            Evidence::Exact => (0, 0),
        };
        if of_members <= members && self.n_idle <= learners {
            return Ok(());
        }
        let (failed, empty, idle) = (self.n_failed, self.n_empty, self.n_idle);
        let got = format_args!("{failed} failed, {empty} empty and {idle} idle ones");
        Err(Error::parameter("record", format_args!("one of some of {all} members"), got))
    }

    /// The record of a whole table whose classes were known before.
    pub(super) fn new(law: Law, facts: DataFacts, evidence: Evidence, before_noise: Option<String>) -> Self {
        Self {
            law,
            facts,
            evidence,
            before_noise,
            classes_as_received: false,
            n_failed: 0,
            n_idle: 0,
            n_empty: 0,
            n_trusted: 0,
            family: None,
        }
    }
}
