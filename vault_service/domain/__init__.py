"""Pure values and rules of the vault: no I/O, no clock, no randomness that is not handed in."""
