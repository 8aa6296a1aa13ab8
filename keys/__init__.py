"""Cryptography and key management. Knows Vault; knows no HTTP, no SQL, no customer.

This package holds code, the declared key inventory and Vault policies. It never holds key material.
"""
