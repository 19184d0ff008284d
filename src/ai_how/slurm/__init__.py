"""Slurm: its configuration rendered, its answers parsed, its jobs controlled. Slurm does the scheduling."""
