"""From a model URI and an image folder to pinned, hashed, local data. Never unpickles."""
