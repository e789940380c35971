"""What is fitted: the certified ensemble, the exact 1-NN, and when to stop adding members."""
