# sign-ledger: signs and verifies with the one key ledger and reads its public part; nothing else.
path "${mount}/sign/ledger" {
  capabilities = ["update"]
  allowed_parameters = { "input" = [] }
}
path "${mount}/verify/ledger" {
  capabilities = ["update"]
  allowed_parameters = { "input" = [], "signature" = [] }
}
path "${mount}/keys/ledger" { capabilities = ["read"] }

# Its own token: looked at by readiness, renewed, and ended on a graceful stop.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
