"""The REST API. Views check the shape of a request, call a service or a selector, and shape the answer."""
