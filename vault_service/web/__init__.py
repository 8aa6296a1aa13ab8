"""What every HTTP interface of the service shares; it knows no single call.

The edge (environment, headers, address), the request's context, authentication, bodies, rates,
metrics and the access log. It may use the use cases' types and may not import `api`.
"""
