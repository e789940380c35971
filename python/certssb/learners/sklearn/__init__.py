"""scikit-learn's estimators, pipelines, and any object with fit and predict, as members.

A member is a fresh clone, fitted on the member's own noised set alone.
"""
