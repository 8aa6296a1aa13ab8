# reveal: unwraps the data keys of records. May not encrypt, rewrap, sign, or touch evidence.
path "${mount}/decrypt/records-card" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "partial_failure_response_code" = [] }
}
path "${mount}/decrypt/records-contact" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "partial_failure_response_code" = [] }
}
path "${mount}/decrypt/records-account" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "partial_failure_response_code" = [] }
}
path "${mount}/decrypt/records-communication" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "partial_failure_response_code" = [] }
}
# One input, the same each time: the key that honeytokens are marked with.
path "${mount}/hmac/honeytoken/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}

# Its own token: looked at by readiness, renewed, and ended on a graceful stop.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
