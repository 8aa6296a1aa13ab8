"""Puts the service together: the only place that sees storage and Vault at once."""
