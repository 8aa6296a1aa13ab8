# issuer: makes secret-ids of the roles, and only response-wrapped: min_wrapping_ttl refuses any
# other way. No parameters, so that neither their uses nor their lives can be widened.
path "auth/${approle}/role/${prefix}ingest/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "72h"
  denied_parameters = { "*" = [] }
}
path "auth/${approle}/role/${prefix}reveal/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "72h"
  denied_parameters = { "*" = [] }
}
path "auth/${approle}/role/${prefix}review/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "72h"
  denied_parameters = { "*" = [] }
}
path "auth/${approle}/role/${prefix}rotate/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "72h"
  denied_parameters = { "*" = [] }
}
path "auth/${approle}/role/${prefix}sign-token/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "72h"
  denied_parameters = { "*" = [] }
}
path "auth/${approle}/role/${prefix}sign-ledger/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "72h"
  denied_parameters = { "*" = [] }
}
path "auth/${approle}/role/${prefix}inspect/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "72h"
  denied_parameters = { "*" = [] }
}

# Its own token: looked at by readiness, renewed, and ended on a graceful stop.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
