//! What the application is told about the client: one code path for HTTP and WebSocket.
