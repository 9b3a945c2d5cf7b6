"""Live updates over HTTP: server-sent events and WebSocket."""
