"""What every HTTP surface shares: authentication, request context, headers, rate limits."""
