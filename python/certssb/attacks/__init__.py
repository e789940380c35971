"""Triggers that an attacker puts on images, and poisoning a training set with them."""
