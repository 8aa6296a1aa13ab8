"""The HTTP interface in JSON: calls, schemas, errors, and the document that describes them."""
