"""The servers of an all-in-one installation, run as our own children over folders of ours."""
