"""The JSON interface: blueprints, schemas, the table from error code to HTTP status, OpenAPI."""
