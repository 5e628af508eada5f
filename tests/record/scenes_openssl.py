from scene import Scene

SCENES: list[Scene] = []
