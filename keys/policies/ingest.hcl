# ingest: wraps data keys and computes fingerprints. May not decrypt, rewrap, sign or read a key.
# "update" without "create": an unknown key name cannot make a key even with upsert on.
# Batches only, which also keeps key versions and AAD from being chosen.
path "${mount}/encrypt/records-card" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/encrypt/records-contact" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/encrypt/records-account" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/encrypt/records-communication" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/encrypt/evidence" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/hmac/fingerprint-payment-card/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-telephone/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-business-name/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-contact-name/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-email-address/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-postal-address/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-communication/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-service-choice/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-customer-ref/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
}
path "${mount}/hmac/fingerprint-request/sha2-256" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [], "key_version" = [] }
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
