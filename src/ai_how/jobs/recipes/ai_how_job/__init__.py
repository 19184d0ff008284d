"""What a training script needs inside a job: tracking, the notice before the time limit, checkpoints.

The package is copied beside a recipe's script when the job is submitted, so that it runs in any runtime
environment: it imports nothing of AI-HOW. `tracking` and `notice` need the standard library alone, `ddp` needs PyTorch.
"""
