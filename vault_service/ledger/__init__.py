"""The verifiable log itself, on the standard library only."""
