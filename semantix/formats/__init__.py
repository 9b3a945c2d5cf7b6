"""How dates are written in the admin: one way everywhere, that sorts."""
