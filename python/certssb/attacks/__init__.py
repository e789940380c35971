"""What an attacker does to images, and poisoning a training set with it."""
