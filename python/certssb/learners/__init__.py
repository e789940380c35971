"""Learners of the user's own: who computes a member that is none of the built-in networks."""
