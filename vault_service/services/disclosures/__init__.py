"""Disclosure requests from draft to grant, each step in one unit of work with its ledger entry.

What a ground asks for is decided by `domain.policy.decide`, what may follow what by
`domain.disclosures`; these modules read, ask them, and write. The evidence is opened before the
row is locked, because it never changes and Vault may take its time; the state is read under lock.
"""
