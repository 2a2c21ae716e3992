"""How targets are reached: dialling, and the CONNECT preamble of those that lie behind an `internal_access_path`.

May be imported by `session`, `service` and `cli`; knows nothing of clients.
"""
