"""Recipes into jobs: rendered, submitted to Slurm, followed, tracked in MLflow to their end."""
