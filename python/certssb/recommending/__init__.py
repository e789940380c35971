"""Which law: those that can reach a threat, searched before anything is trained, or measured on trusted samples."""

from certssb.recommending._nearest import RecommendedKNN
from certssb.recommending._recommend import recommend
from certssb.recommending._rows import Recommendation, RecommendedLaw

__all__ = ["Recommendation", "RecommendedKNN", "RecommendedLaw", "recommend"]
