"""The API: nova's routes for consoles, and ours beside them, over HTTP with a bearer token.

`faults`, `versions`, `json_body`, `schemas`, `bodies`, `routes` and `openapi` are plain values and functions, with no
HTTP library in them; `access` reads the token's file; `resource` and `server` put them on twisted.web, and are imported
by their own names. Imports no session, target, service or command; of `client` only its pieces of HTTP and TLS.
Everything that asks the store runs on a thread of the store's, never on the reactor's.
"""
