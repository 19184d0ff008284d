"""The device catalogue, the geometry of MIG, and the planner that places slices. Pure: no input, no output."""
