"""Certified robustness of classifiers against backdoors in their training data."""
