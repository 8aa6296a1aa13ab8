# inspect: reads the settings of keys and mount for the checks at start and of readiness.
path "${mount}/keys/records-card" { capabilities = ["read"] }
path "${mount}/keys/records-contact" { capabilities = ["read"] }
path "${mount}/keys/records-account" { capabilities = ["read"] }
path "${mount}/keys/records-communication" { capabilities = ["read"] }
path "${mount}/keys/evidence" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-payment-card" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-telephone" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-business-name" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-contact-name" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-email-address" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-postal-address" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-communication" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-service-choice" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-customer-ref" { capabilities = ["read"] }
path "${mount}/keys/fingerprint-request" { capabilities = ["read"] }
path "${mount}/keys/honeytoken" { capabilities = ["read"] }
path "${mount}/keys/disclosure-token" { capabilities = ["read"] }
path "${mount}/keys/ledger" { capabilities = ["read"] }
path "${mount}/config/keys" { capabilities = ["read"] }

# Its own token: looked at by readiness, renewed, and ended on a graceful stop.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
