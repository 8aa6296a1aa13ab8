"""Reveal: plaintext to the holder of a disclosure token, once.

Three things must agree, and no two of them are enough: the caller's own credential, the token's
signature, and the grant's row. The steps of a batch, whoever its callers are:

1. verify each token by the database's clock, and that its holder is the caller.
2. read the grants and the sealed records; check that the request stays within both scopes.
3. have Vault unwrap the data keys.
4. one unit of work: spend the caller's budget, consume a use of each token and grant, append the
   ledger entries; commit.
5. only now open the values. Contents of communications are opened while they are sent, one
   communication for each use (`services.contents`).

What fails before the commit reveals nothing and spends nothing. If the commit's outcome is
unknown, the answer is a refusal, and the use counts as spent.
"""
