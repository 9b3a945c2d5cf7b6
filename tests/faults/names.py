"""Names of environment variables, where Django's settings may import them."""

# The folder of armed kill points.
KILL_POINTS = "KILL_POINTS"
