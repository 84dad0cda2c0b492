"""The ways in: WebSocket and HTTP over uvicorn, TLS, who is let in, and how all come to an end.

A transport moves bytes, keeps time and bounds what a peer may cost; what a message means, the session says.
"""
