"""The command `vault-service`."""
