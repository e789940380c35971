//! The nearest region of another class, exactly: candidates by sketch, then plain distances, then exact ones.

use super::distance::{approximate, doubt, Distance};
use super::index::{Centres, Index, Query, Shortlist};
use super::resolve::Neighbour;
use crate::error::Result;

/// Looks for the region with the smallest gap below a limit.
pub(crate) struct Search<'a, F> {
    index: &'a Index,
    file: &'a F,
    query: &'a Query<'a>,
    limit: f64,
    best: Option<Neighbour>,
}

impl<'a, F: Centres> Search<'a, F> {
    /// A search for a region whose gap (distance minus radius) is less than `limit`.
    pub(crate) fn new(index: &'a Index, file: &'a F, query: &'a Query<'a>, limit: f64) -> Self {
        Self { index, file, query, limit, best: None }
    }

    /// Searches the regions from `first` on.
    pub(crate) fn from(mut self, first: u32) -> Result<Self> {
        if (first as usize) < self.index.len() {
            let list = self.index.scan(self.query, self.reach(), None, first)?;
            self.follow(list, first)?;
        }
        Ok(self)
    }

    /// Searches all regions, a first scan having been made.
    pub(crate) fn through(mut self, list: Shortlist) -> Result<Self> {
        self.follow(list, 0)?;
        Ok(self)
    }

    /// The region found; of several with the same gap the first that came.
    pub(crate) fn nearest(self) -> Option<Neighbour> {
        self.best
    }

    /// Gaps beyond this cannot matter any more.
    fn reach(&self) -> f64 {
        self.best.map_or(self.limit, |best| best.gap().min(self.limit))
    }

    /// Best first, until no bound is below the best gap found.
    fn follow(&mut self, mut list: Shortlist, first: u32) -> Result<()> {
        loop {
            let full = list.is_full();
            let candidates = list.into_sorted();
            for candidate in &candidates {
                if candidate.bound > self.reach() {
                    return Ok(());
                }
                self.weigh(candidate.region)?;
            }
            if !full {
                return Ok(());
            }
            list = self.index.scan(self.query, self.reach(), candidates.last().copied(), first)?;
        }
    }

    /// Takes the region if it is nearer than the best one.
    fn weigh(&mut self, region: u32) -> Result<()> {
        let stored = self.index.stored(region);
        let centre = self.index.centre(&stored, self.file)?;
        let plain = approximate(self.query.x, &centre);
        let doubt = doubt(plain, stored.radius, centre.len());
        if plain - stored.radius - doubt > self.reach() {
            return Ok(());
        }
        let distance = Distance::between(self.query.x, &centre);
        let found = Neighbour {
            number: stored.number,
            prediction: stored.prediction,
            radius: stored.radius,
            distance,
        };
        if self.best.is_none_or(|best| found.order(&best).is_lt()) {
            self.best = Some(found);
        }
        Ok(())
    }
}
