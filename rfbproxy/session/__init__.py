"""One visit: authorise, negotiate, relay, and the audit record of how it ended.

Joins `client`, `target` and `consoleauth`; may be imported by `service` and `cli`.
"""
