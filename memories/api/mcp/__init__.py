"""The Model Context Protocol at /mcp: tools by which an agent remembers and searches.

Each tool sends a request to the REST API inside this process, with the caller's key. So keys, tenants, limits,
throttles and problems are the same on both ways in.
"""
