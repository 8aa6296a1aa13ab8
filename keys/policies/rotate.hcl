# rotate: new versions, rewrapping, and the two version limits. Nothing that yields plaintext.
# Without allowed_parameters whoever sets limits could also make a key exportable (fact 12).

path "${mount}/keys/records-card" { capabilities = ["read"] }
path "${mount}/keys/records-card/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/records-card/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/records-card/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/records-contact" { capabilities = ["read"] }
path "${mount}/keys/records-contact/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/records-contact/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/records-contact/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/records-account" { capabilities = ["read"] }
path "${mount}/keys/records-account/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/records-account/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/records-account/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/records-communication" { capabilities = ["read"] }
path "${mount}/keys/records-communication/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/records-communication/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/records-communication/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/evidence" { capabilities = ["read"] }
path "${mount}/keys/evidence/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/evidence/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/evidence/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-payment-card" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-payment-card/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-payment-card/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-payment-card/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-telephone" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-telephone/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-telephone/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-telephone/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-business-name" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-business-name/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-business-name/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-business-name/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-contact-name" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-contact-name/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-contact-name/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-contact-name/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-email-address" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-email-address/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-email-address/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-email-address/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-postal-address" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-postal-address/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-postal-address/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-postal-address/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}
path "${mount}/keys/fingerprint-service-choice" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-service-choice/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-service-choice/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-service-choice/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-communication" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-communication/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-communication/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-communication/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-customer-ref" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-customer-ref/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-customer-ref/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-customer-ref/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/fingerprint-request" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-request/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/fingerprint-request/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/fingerprint-request/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/honeytoken" { capabilities = ["read"] }

path "${mount}/keys/disclosure-token" { capabilities = ["read"] }
path "${mount}/keys/disclosure-token/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/disclosure-token/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/disclosure-token/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}

path "${mount}/keys/ledger" { capabilities = ["read"] }
path "${mount}/keys/ledger/rotate" {
  capabilities = ["update"]
  denied_parameters = { "*" = [] }
}
path "${mount}/keys/ledger/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [], "min_decryption_version" = [] }
}
path "${mount}/keys/ledger/trim" {
  capabilities = ["update"]
  allowed_parameters = { "min_available_version" = [] }
}
path "${mount}/rewrap/records-card" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/rewrap/records-contact" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/rewrap/records-account" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/rewrap/records-communication" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}
path "${mount}/rewrap/evidence" {
  capabilities = ["update"]
  allowed_parameters = { "batch_input" = [] }
}

# Its own token: looked at by readiness, renewed, and ended on a graceful stop.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
