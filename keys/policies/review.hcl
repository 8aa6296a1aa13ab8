# review: unwraps the data keys of evidence, so that officers can read it; nothing of records.
path "${mount}/decrypt/evidence" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "partial_failure_response_code" = [] }
}

# Its own token: looked at by readiness, renewed, and ended on a graceful stop.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
