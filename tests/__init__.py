"""The tests, and what they make: media, origins, clusters. Benches use some of it."""

import os

# Ray asks for a token where one lies at home, and reads once in a process whether it does: clusters
# of the same process with one and without would not understand each other.
os.environ["RAY_AUTH_MODE"] = "disabled"
