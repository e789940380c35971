"""Files: whole ones written, bounded ones read, ensembles saved with a fingerprint."""
