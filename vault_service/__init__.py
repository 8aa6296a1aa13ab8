"""The customer-data vault. Knows customers, policy, SQL and HTTP; holds no cryptography."""

__version__ = "0.1.0"
