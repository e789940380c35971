//! Settings of a certification: as a user types them, and what they are called.

use serde::{Deserialize, Serialize};

use super::confidence::Confidence;
use crate::error::{Error, Result};
use crate::quantity::{Alpha, Quantity};

/// Which confidence bound turns a vote share into a probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Exact binomial bound; votes only.
    ClopperPearson,
    /// Chernoff's form of Hoeffding's bound; votes or scores.
    Kl,
    /// The literature's bound.
    Hoeffding,
    /// Any-time valid, for ensembles that grow until the answer is liked.
    Betting,
}

impl Bound {
    const KNOWN: [&'static str; 5] = ["auto", "clopper_pearson", "kl", "hoeffding", "betting"];

    /// The bound of that name; `auto` is Clopper-Pearson for votes and Kullback-Leibler for scores.
    ///
    /// # Errors
    /// `Parameter` for an unknown name (lists the known), or Clopper-Pearson on scores.
    pub fn parse(name: &str, scores: bool) -> Result<Self> {
        match name {
            "auto" if scores => Ok(Self::Kl),
            "auto" => Ok(Self::ClopperPearson),
            "clopper_pearson" if scores => Err(Error::parameter(
                "bound",
                "'kl', 'hoeffding' or 'betting' for scores, which are not yes-or-no votes",
                "'clopper_pearson'",
            )),
            "clopper_pearson" => Ok(Self::ClopperPearson),
            "kl" => Ok(Self::Kl),
            "hoeffding" => Ok(Self::Hoeffding),
            "betting" => Ok(Self::Betting),
            other => Err(Error::unknown("bound", &Self::KNOWN, other)),
        }
    }
}

/// How the class is chosen without spoiling the bound on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The same members choose and bound: all classes' bounds hold together.
    Union,
    /// The first members choose, the others bound (Cohen et al. 2019).
    Split {
        /// How many members choose.
        members: usize,
    },
}

/// What bounds the other classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerUp {
    /// p_B = 1 - p_A.
    Complement,
    /// p_B = the largest upper bound of another class, at most 1 - p_A. For more than two classes.
    Bound,
}

/// Settings of a certification as a user types them; see [`Confidence::at`].
#[derive(Clone, Debug, PartialEq)]
pub struct ConfidenceBuilder {
    alpha: f64,
    bound: String,
    selection: String,
    runner_up: String,
    family_wise: bool,
    split: Option<usize>,
}

impl ConfidenceBuilder {
    pub(super) fn new(alpha: f64) -> Self {
        let auto = || "auto".to_owned();
        let (bound, selection, runner_up) = (auto(), "union".to_owned(), auto());
        Self { alpha, bound, selection, runner_up, family_wise: false, split: None }
    }

    /// The confidence bound: "auto", "clopper_pearson", "kl", "hoeffding" or "betting".
    pub fn bound(self, name: impl Into<String>) -> Self {
        Self { bound: name.into(), ..self }
    }

    /// How the class is chosen: "union" or "split".
    pub fn selection(self, name: impl Into<String>) -> Self {
        Self { selection: name.into(), ..self }
    }

    /// What bounds the other classes: "auto", "complement" or "bound".
    pub fn runner_up(self, name: impl Into<String>) -> Self {
        Self { runner_up: name.into(), ..self }
    }

    /// Whether all test samples' statements hold together.
    pub fn family_wise(self, family_wise: bool) -> Self {
        Self { family_wise, ..self }
    }

    /// The number of choosing members with "split"; by default a tenth.
    pub fn split(self, members: impl Into<Option<usize>>) -> Self {
        Self { split: members.into(), ..self }
    }

    /// Refuses a bound for a fixed number of members where that number was chosen after a look at answers (`grown`).
    ///
    /// # Errors
    /// `Parameter` for any bound but betting.
    pub fn check_history(&self, grown: bool) -> Result<()> {
        if !grown || self.bound == "betting" {
            return Ok(());
        }
        let expected = "'betting' for a number of members that was chosen after a look at their answers";
        Err(Error::parameter("bound", expected, format_args!("'{}'", self.bound)))
    }

    /// The checked settings for votes of so many members for so many classes.
    ///
    /// # Errors
    /// `Parameter` for alpha outside (0, 1), unknown names (the known are listed), a `split` without members left to
    /// bound, and the betting bound with a split that is not given: a tenth of the members moves with their number,
    /// and the bound holds at all numbers together only if the class is chosen by the same members at each.
    pub fn for_votes(&self, n_members: usize, n_classes: usize) -> Result<Confidence> {
        self.check(n_members, n_classes, false)
    }

    /// The checked settings for scores, which are no yes-or-no votes.
    ///
    /// # Errors
    /// As [`for_votes`](Self::for_votes), and for the Clopper-Pearson bound.
    pub fn for_scores(&self, n_members: usize, n_classes: usize) -> Result<Confidence> {
        self.check(n_members, n_classes, true)
    }

    fn check(&self, n_members: usize, n_classes: usize, scores: bool) -> Result<Confidence> {
        let alpha = Alpha::check("alpha", self.alpha)?;
        let bound = Bound::parse(&self.bound, scores)?;
        if bound == Bound::Betting && self.selection == "split" && self.split.is_none() {
            let expected = "a number of choosing members that is fixed before the first look, such as split=100: the \
                            default, a tenth, moves when members are added, and the betting bound holds after every \
                            addition only if the class is chosen by the same members each time";
            return Err(Error::parameter("split", expected, "None"));
        }
        Ok(Confidence {
            alpha,
            bound,
            selection: check_selection(&self.selection, self.split, n_members)?,
            runner_up: match self.runner_up.as_str() {
                "auto" | "bound" if n_classes == 2 => RunnerUp::Complement,
                "auto" | "bound" => RunnerUp::Bound,
                "complement" => RunnerUp::Complement,
                other => return Err(Error::unknown("runner_up", &["auto", "complement", "bound"], other)),
            },
            family_wise: self.family_wise,
        })
    }
}

fn check_selection(name: &str, split: Option<usize>, n_members: usize) -> Result<Selection> {
    match (name, split) {
        ("union", None) => Ok(Selection::Union),
        ("union", Some(split)) => Err(Error::parameter("split", "None with selection='union'", split)),
        ("split", split) => {
            let members = split.unwrap_or((n_members / 10).max(1));
            if (1..n_members).contains(&members) {
                return Ok(Selection::Split { members });
            }
            Err(Error::parameter(
                "split",
                format_args!(
                    "an integer from 1 to {}, fewer than the {n_members} members, so that some are left to bound",
                    n_members.saturating_sub(1)
                ),
                members,
            ))
        }
        (other, _) => Err(Error::unknown("selection", &["union", "split"], other)),
    }
}
