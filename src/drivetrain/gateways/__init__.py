"""Client protocols in front of the platform: a route parses, calls one use case, renders.

listener ──▶ http.Shell ──▶ native | replicate | …  ──▶ platform.Platform
               │ who calls, request ids, errors, headers, one line of log
               └─ files by signed URL, health, metrics
"""
