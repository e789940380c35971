"""The user's torch module as a member: everything here needs torch."""
