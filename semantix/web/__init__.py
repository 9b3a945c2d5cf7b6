"""The web server: threads, deadlines, HTTP protocol, middleware, health, API pages."""
