"""How clients come in: one listener that tells by the first bytes, HTTP heads, pages, WebSocket, Origin.

May be imported by `session`, `service` and `cli`; knows nothing of targets.
"""
