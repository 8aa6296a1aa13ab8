# sign-token: signs and verifies with the one key disclosure-token and reads its public part; nothing else.
path "${mount}/sign/disclosure-token" {
  capabilities = ["update"]
  allowed_parameters = { "input" = [], "batch_input" = [] }
}
path "${mount}/verify/disclosure-token" {
  capabilities = ["update"]
  allowed_parameters = { "input" = [], "signature" = [] }
}
path "${mount}/keys/disclosure-token" { capabilities = ["read"] }

# Its own token: looked at by readiness, renewed, and ended on a graceful stop.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
